//! The server and its text with a real Prometheus: it scrapes them and answers what they said. Skipped where there is
//! none, unless `LEAKCHECK_TEST_PROGRAMS=required`.

use super::MetricsServer;
use crate::render::made_up_watch;
use crate::render::metrics::metrics;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

const DEADLINE: Duration = Duration::from_secs(30);

/// A running Prometheus with its folder; both end with it.
struct Prometheus {
    child: Child,
    folder: PathBuf,
    web: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// Starts one that scrapes `target`; none when it is not installed.
    fn start(target: SocketAddr) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("leakcheck-prometheus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("prometheus.yml");
        let text = format!(
            "scrape_configs:\n  - job_name: leakcheck\n    scrape_interval: 200ms\n    scrape_timeout: 200ms\n    \
             static_configs:\n      - targets: ['{target}']\n"
        );
        fs::write(&config, text).unwrap();
        // Free a moment ago, at an address that no other test uses.
        let web = TcpListener::bind("127.0.0.78:0").unwrap().local_addr().unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={web}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        match started {
            Ok(child) => Some(Self { child, folder, web }),
            Err(e) => {
                let _ = fs::remove_dir_all(&folder);
                let required = std::env::var_os("LEAKCHECK_TEST_PROGRAMS").is_some_and(|value| value == "required");
                assert!(!required, "prometheus cannot be started: {e}");
                eprintln!("skipped: prometheus cannot be started: {e}");
                None
            }
        }
    }

    /// The data of an answer of its interface; none while it is not ready.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.web).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        (body["status"] == "success").then(|| body["data"].clone())
    }

    /// The same, asked until `found` has what it looks for.
    fn wait_for<T>(&self, path: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = self.ask(path).and_then(|data| found(&data)) {
                return value;
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "no answer to {path}\n{:?}\n{}", self.ask("/api/v1/targets"), log());
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn prometheus_scrapes_what_is_published() {
    let server = MetricsServer::listen("127.0.0.1:0").unwrap();
    let mut view = made_up_watch::view();
    view.processes[1].name = "work\"er\\1\n🦀".to_owned();
    server.publish(metrics(&view));
    let Some(prometheus) = Prometheus::start(server.address()) else { return };

    let one = |data: &Value| (data["result"].as_array()?.len() == 1).then(|| data["result"][0].clone());
    for (query, name, figure) in [
        (r#"leakcheck_resident_bytes{pid="4711"}"#, "shop", view.processes[0].resident.rss_bytes.to_string()),
        (r#"leakcheck_resident_bytes{pid="4712"}"#, view.processes[1].name.as_str(), "31400000".to_owned()),
        (r#"leakcheck_cpu_seconds_total"#, "shop", "81.25".to_owned()),
        (r#"leakcheck_verdict{verdict="leaking"}==1"#, "shop", "1".to_owned()),
    ] {
        let found = prometheus.wait_for(&format!("/api/v1/query?query={}", percent_encoded(query)), one);
        assert_eq!(found["metric"]["name"], name, "{query}: {found}");
        assert_eq!(found["value"][1], figure, "{query}: {found}");
    }
    let target = prometheus.wait_for("/api/v1/targets", |data| {
        let target = &data["activeTargets"][0];
        (target["health"] != "unknown").then(|| target.clone())
    });
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
