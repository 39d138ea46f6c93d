//! What a request is answered: bytes in, bytes out.

use crate::render::metrics::in_the_older_format;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OLDER: &str = "text/plain; version=0.0.4; charset=utf-8";
const WORDS: &str = "text/plain; charset=utf-8";
const HEADERS_MAX: usize = 64;

/// Whether the head of a request has come to its end, or cannot become one.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    !matches!(httparse::Request::new(&mut headers).parse(bytes), Ok(httparse::Status::Partial))
}

/// The whole response to the head of a request; `metrics` is OpenMetrics text.
pub(super) fn answer(head: &[u8], metrics: &str) -> Vec<u8> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let (Ok(httparse::Status::Complete(_)), Some(method), Some(target)) =
        (request.parse(head), request.method, request.path)
    else {
        return response(
            "400 Bad Request",
            WORDS,
            "",
            "this is not a request of HTTP/1, or its head is too long\n",
            true,
        );
    };
    let with_body = method != "HEAD";
    if !matches!(method, "GET" | "HEAD") {
        let allow = "Allow: GET, HEAD\r\n";
        return response("405 Method Not Allowed", WORDS, allow, "only GET and HEAD\n", with_body);
    }
    match path_of(target) {
        "/metrics" if takes_open_metrics(request.headers) => {
            response("200 OK", OPEN_METRICS, "Vary: Accept\r\n", metrics, with_body)
        }
        "/metrics" => response("200 OK", OLDER, "Vary: Accept\r\n", &in_the_older_format(metrics), with_body),
        "/" => response("200 OK", WORDS, "", "leakcheck watch: the figures are at /metrics\n", with_body),
        _ => response("404 Not Found", WORDS, "", "the figures are at /metrics\n", with_body),
    }
}

fn response(status: &str, kind: &str, more: &str, body: &str, with_body: bool) -> Vec<u8> {
    let length = body.len();
    let body = if with_body { body } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The path of `/metrics?x=y` and of `http://host/metrics`.
fn path_of(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// Whether the client likes OpenMetrics 1.0 at least as well as plain text.
fn takes_open_metrics(headers: &[httparse::Header<'_>]) -> bool {
    let accepted = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
    let texts = accepted.filter_map(|header| std::str::from_utf8(header.value).ok());
    let ranges: Vec<(String, f32)> = texts.flat_map(|text| text.split(',')).map(range_and_weight).collect();
    let weight =
        |kind: &str| ranges.iter().filter(|(range, _)| range == kind).map(|(_, weight)| *weight).fold(0.0, f32::max);
    let open = weight("application/openmetrics-text");
    open > 0.0 && open >= weight("text/plain")
}

/// The kind of one member of `Accept` with its weight; none for versions of it that we do not speak.
fn range_and_weight(member: &str) -> (String, f32) {
    let mut parts = member.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mut weight = 1.0;
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match (name.trim(), value.trim().trim_matches('"')) {
            ("q", value) => weight = value.parse().unwrap_or(0.0),
            ("version", "1.0.0" | "0.0.4") => {}
            ("version", _) => return (kind, 0.0),
            _ => {}
        }
    }
    (kind, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_lines(request: &str) -> (String, String) {
        let answer = String::from_utf8(answer(request.as_bytes(), "# TYPE x counter\nx_total 1\n# EOF\n")).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().to_owned();
        let kind = lines.next().unwrap().to_owned();
        assert!(body.is_empty() || lines.next() == Some(&format!("Content-Length: {}", body.len())), "{answer}");
        (format!("{status} {kind}"), body.to_owned())
    }

    #[test]
    fn requests_get_the_answer_they_ask_for() {
        let open = "HTTP/1.1 200 OK Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        let older = "HTTP/1.1 200 OK Content-Type: text/plain; version=0.0.4; charset=utf-8";
        for (accept, status) in [
            ("", older),
            ("Accept: */*\r\n", older),
            ("accept: application/openmetrics-text\r\n", open),
            ("Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n", open),
            ("Accept: application/openmetrics-text; version=1.0.0; q=0.5\r\nAccept: text/plain;q=0.4\r\n", open),
            ("Accept: text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5\r\n", older),
            ("Accept: application/openmetrics-text;version=0.0.1\r\n", older),
            ("Accept: application/openmetrics-text;q=0\r\n", older),
        ] {
            let (found, body) = first_lines(&format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
            assert_eq!(found, status, "{accept}");
            assert_eq!(body.ends_with("# EOF\n"), status == open);
        }
        for (request, status) in [
            ("GET /metrics?x=y HTTP/1.1\r\n\r\n", "200"),
            ("GET http://localhost:9464/metrics HTTP/1.1\r\n\r\n", "200"),
            ("GET / HTTP/1.0\r\n\r\n", "200"),
            ("GET /metricsx HTTP/1.1\r\n\r\n", "404"),
            ("GET http://localhost:9464 HTTP/1.1\r\n\r\n", "200"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("nonsense\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1\r\nUnfinished", "400"),
            ("", "400"),
            ("\0\u{1}\r\n\r\n", "400"),
        ] {
            let (found, body) = first_lines(request);
            assert_eq!(found.split(' ').nth(1), Some(status), "{request:?}: {found}");
            assert!(!body.is_empty(), "{request:?}");
        }
        assert_eq!(first_lines("HEAD /metrics HTTP/1.1\r\n\r\n"), (older.to_owned(), String::new()));
    }

    #[test]
    fn a_head_is_whole_at_its_blank_line_or_where_it_goes_wrong() {
        for (bytes, whole) in
            [("", false), ("GET / HT", false), ("GET / HTTP/1.1\r\nA: b\r\n\r\n", true), ("GET / HTTX", true)]
        {
            assert_eq!(is_whole(bytes.as_bytes()), whole, "{bytes}");
        }
    }
}
