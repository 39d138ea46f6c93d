//! The service: hyper on tokio, and what its CPU time and its clients' waiting come to.
//!
//! Parameters: `requests` a region; `load`, the program that makes them, by default the child without recorder beside
//! this one. An operation is a request.

use super::orders::Orders;
use crate::child::{Facts, Recording};
use crate::parameters::Parameters;
use crate::workload::Workload;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const WORKERS: usize = 2;

pub(in crate::workload) struct Http {
    /// Keeps the service running.
    _runtime: Runtime,
    port: u16,
    requests: u64,
    load: PathBuf,
    /// What the clients of each region have said.
    said: Vec<Value>,
}

impl Http {
    pub(in crate::workload) fn new(parameters: &Parameters) -> Result<Self, String> {
        let failed = |why: std::io::Error| format!("failed to start the service: {why}");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().map_err(failed)?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        runtime.spawn(serve(listener));
        let beside = std::env::current_exe().map_err(failed)?.with_file_name("child-system");
        Ok(Self {
            _runtime: runtime,
            port,
            requests: parameters.scaled("requests", 3000)?.max(200),
            load: match parameters.text("load", "") {
                "" => beside,
                path => path.into(),
            },
            said: Vec::new(),
        })
    }
}

impl Workload for Http {
    fn region(&mut self) -> Result<u64, String> {
        let output = Command::new(&self.load)
            .args(["plain", "load", "warmups=0", "regions=1"])
            .args([format!("port={}", self.port), format!("requests={}", self.requests)])
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|why| format!("failed to start the clients: {why}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        if !output.status.success() {
            return Err("the clients were not served as they must be".into());
        }
        let said: Value = serde_json::from_str(last).map_err(|why| format!("failed to read `{last}`: {why}"))?;
        let requests = said["facts"]["requests"].as_f64().unwrap_or(0.0) as u64;
        self.said.push(said);
        if requests > 0 { Ok(requests) } else { Err("no request was served".into()) }
    }

    fn finish(&mut self, _: &dyn Recording) -> Result<Facts, String> {
        // The first is the warm-up, if there is another.
        let measured = &self.said[usize::from(self.said.len() > 1)..];
        let mean = |name: &str| {
            let values = measured.iter().filter_map(|said| said["facts"][name].as_f64());
            values.sum::<f64>() / measured.len().max(1) as f64
        };
        Ok(["p50_us", "p99_us", "longest_us"].map(|name| (name.to_owned(), mean(name))).into())
    }
}

async fn serve(listener: TcpListener) {
    let orders = Arc::new(Orders::default());
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_connection(stream, Arc::clone(&orders)));
    }
}

async fn serve_connection(stream: TcpStream, orders: Arc<Orders>) {
    // A delay that belongs to the protocol, not to the service.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&orders)));
    // A client that goes away ends its connection.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, orders: Arc<Orders>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let (status, text) = match orders.answer(&body) {
        Ok(text) => (StatusCode::OK, text),
        Err(why) => (StatusCode::BAD_REQUEST, why),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}
