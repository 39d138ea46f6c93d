//! The clients: a few connections, each with its pace, bounded in number and time.
//!
//! Parameters: `port`, `requests` in all, `connections`, `rate` of requests a second in all. A client that falls behind
//! sends at once when it has its answer. Waiting is from sending to the last byte of the answer.

use super::orders;
use crate::chance::Chance;
use crate::child::{Facts, Recording};
use crate::parameters::Parameters;
use crate::workload::Workload;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// No client goes on for longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(in crate::workload) struct Load {
    port: u16,
    connections: u64,
    requests_each: u64,
    pause: Duration,
    waits_ns: Vec<u64>,
}

impl Load {
    pub(in crate::workload) fn new(parameters: &Parameters) -> Result<Self, String> {
        let connections = parameters.number("connections", 4)?.max(1);
        let rate = parameters.number("rate", 2000)?.max(1);
        Ok(Self {
            port: parameters.number("port", 0)? as u16,
            connections,
            requests_each: parameters.number("requests", 1000)? / connections,
            pause: Duration::from_secs(connections) / rate as u32,
            waits_ns: Vec::new(),
        })
    }
}

impl Workload for Load {
    fn region(&mut self) -> Result<u64, String> {
        let Self { port, requests_each, pause, .. } = *self;
        let clients: Vec<_> = (0..self.connections)
            .map(|number| thread::spawn(move || client(port, number, requests_each, pause)))
            .collect();
        for client in clients {
            let waits = client.join().map_err(|_| "a client panicked")??;
            self.waits_ns.extend(waits);
        }
        Ok(self.waits_ns.len() as u64)
    }

    fn finish(&mut self, _: &dyn Recording) -> Result<Facts, String> {
        self.waits_ns.sort_unstable();
        let len = self.waits_ns.len();
        let at = |part: f64| {
            let place = ((len as f64 * part) as usize).min(len.saturating_sub(1));
            self.waits_ns.get(place).copied().unwrap_or(0) as f64 / 1000.0
        };
        Ok(vec![
            ("requests".into(), len as f64),
            ("p50_us".into(), at(0.5)),
            ("p99_us".into(), at(0.99)),
            ("longest_us".into(), at(1.0)),
        ])
    }
}

/// How long each of its requests had to wait.
fn client(port: u16, number: u64, requests: u64, pause: Duration) -> Result<Vec<u64>, String> {
    let failed = |why: std::io::Error| format!("failed to talk to the service: {why}");
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut answers = BufReader::new(stream.try_clone().map_err(failed)?);
    let mut stream = stream;
    let mut chance = Chance::new(100 + number);
    let mut waits = Vec::with_capacity(requests as usize);
    let began = Instant::now();
    for request in 0..requests {
        let (order, total) = orders::made_up(&mut chance);
        let message =
            format!("POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{order}", order.len());
        thread::sleep((pause * request as u32).saturating_sub(began.elapsed()));
        if began.elapsed() > PATIENCE {
            break;
        }
        let sent = Instant::now();
        stream.write_all(message.as_bytes()).map_err(failed)?;
        let answer = read_answer(&mut answers).map_err(failed)?;
        waits.push(sent.elapsed().as_nanos() as u64);
        if !answer.contains(&format!("\"total\":{total}")) {
            return Err(format!("expected a total of {total}, found {answer}"));
        }
    }
    Ok(waits)
}

/// The body of an answer that says how long it is.
fn read_answer(answers: &mut impl BufRead) -> std::io::Result<String> {
    let mut len = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => len = value.trim().parse().unwrap_or(0),
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; len];
    answers.read_exact(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
