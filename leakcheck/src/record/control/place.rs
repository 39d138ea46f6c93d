//! Where the socket is: a folder of the user's that nobody else can enter.

use super::connections;
use crate::control;
use crate::record::kernel;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted.
const BACKLOG: libc::c_int = 8;

/// The path of a socket, in a folder that is fit for it.
pub(super) struct Place(PathBuf);

impl Place {
    /// The place of this process's socket; none where no folder is fit.
    pub(super) fn of_this_process() -> Option<Self> {
        // SAFETY: geteuid has no preconditions.
        let user = unsafe { libc::geteuid() };
        let runtime_dir = std::env::var("XDG_RUNTIME_DIR").ok();
        let name = control::socket_name(std::process::id(), kernel::started_ticks()?);
        let mut folders = control::folders(user, runtime_dir.as_deref()).into_iter();
        let folder = folders.find(|folder| is_fit(Path::new(folder), user))?;
        Some(Self(Path::new(&folder).join(name)))
    }

    /// Listens there. What lies there is left over from a program that this process was before it became another.
    pub(super) fn bind(&self) -> Option<OwnedFd> {
        let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
        let bytes = self.0.as_os_str().as_bytes();
        // The last byte stays zero.
        if bytes.len() >= address.sun_path.len() {
            return None;
        }
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        let _ = fs::remove_file(&self.0);
        // SAFETY: the calls are made with a valid descriptor and an address that outlives them.
        unsafe {
            let descriptor = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            if descriptor < 0 {
                return None;
            }
            let socket = OwnedFd::from_raw_fd(descriptor);
            // Before it has a name, so that it is never open to others, whatever the umask.
            libc::fchmod(socket.as_raw_fd(), 0o600);
            let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
            let bound = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) == 0;
            let listens = bound && libc::listen(socket.as_raw_fd(), BACKLOG) == 0;
            listens.then_some(socket).and_then(connections::out_of_the_way)
        }
    }

    /// Removes a few sockets beside it that processes left which were killed: a server that forks for each connection must
    /// not fill the folder with them.
    pub(super) fn remove_dead(&self) {
        const LOOKED_AT: usize = 64;
        let entries = self.0.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        for path in entries.take(LOOKED_AT).map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
            let is_dead = name.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists());
            // In another container it may live.
            if is_dead && UnixStream::connect(&path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
                let _ = fs::remove_file(path);
            }
        }
    }

    pub(super) fn into_path(self) -> Vec<u8> {
        self.0.into_os_string().into_encoded_bytes()
    }
}

/// Makes the folder where its parent is there, and looks whether it is ours alone.
fn is_fit(folder: &Path, user: u32) -> bool {
    // A runtime directory of somebody else's, as after `sudo -E`, is left to its owner; a temporary one is everybody's.
    let parent = folder.parent().and_then(|parent| fs::metadata(parent).ok());
    if !parent.is_some_and(|data| data.uid() == user || data.mode() & 0o1000 != 0) {
        return false;
    }
    // An existing one is looked at below.
    let _ = fs::DirBuilder::new().mode(0o700).create(folder);
    fs::symlink_metadata(folder).is_ok_and(|data| data.is_dir() && data.uid() == user && data.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_folder_of_ours_alone_is_fit() {
        let root = std::env::temp_dir().join(format!("leakcheck-place-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let folder = root.join("leakcheck");
        // SAFETY: geteuid has no preconditions.
        let user = unsafe { libc::geteuid() };
        assert!(is_fit(&folder, user), "it is made");
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert!(is_fit(&folder, user), "it is found");
        assert!(!is_fit(&folder, user + 1), "somebody else's");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(!is_fit(&folder, user), "open to a group");
        let link = root.join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        assert!(!is_fit(&link, user), "a link");
        assert!(!is_fit(&root.join("missing/leakcheck"), user), "without a parent");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_socket_is_open_to_its_owner_only() {
        let root = std::env::temp_dir().join(format!("leakcheck-bind-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let place = Place(root.join("1-2.sock"));
        let listener = place.bind().unwrap();
        assert_eq!(fs::metadata(&place.0).unwrap().mode() & 0o777, 0o600);
        drop(listener);
        assert!(place.bind().is_some(), "one that was left over is replaced");
        assert!(Place(root.join("x".repeat(200))).bind().is_none());
        fs::remove_dir_all(&root).unwrap();
    }
}
