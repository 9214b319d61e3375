//! `Prefer` (RFC 7240): how long a caller waits, and whether at all. What is not known or cannot be read is passed over,
//! as the rules say; what was done is told in `Preference-Applied`.

use std::cell::RefCell;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::limits::WAIT_MAX;

const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

tokio::task_local! {
    /// what this request's handler goes by
    static GOES_BY: RefCell<Option<String>>;
}

/// A caller's preferences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// how long it waits, at most
    pub wait: Option<Duration>,
    /// it does not wait
    pub at_once: bool,
}

impl Prefer {
    /// The preferences of a request, which its handler goes by from here on.
    pub fn of(headers: &HeaderMap) -> Self {
        let prefer = Self::read(headers);
        let applied = match prefer {
            Self { wait: Some(wait), .. } => Some(format!("wait={}", wait.as_secs())),
            Self { at_once: true, .. } => Some("respond-async".to_owned()),
            Self { .. } => None,
        };
        let _not_in_a_request = GOES_BY.try_with(|goes_by| *goes_by.borrow_mut() = applied);
        prefer
    }

    fn read(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let (mut waits, mut asks) = (false, false);
        for item in headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok()).flat_map(items) {
            let (name, value) = item.split_once('=').map_or((item, ""), |(name, value)| (name.trim(), value.trim().trim_matches('"')));
            // Of one that is given twice the first counts.
            if name.eq_ignore_ascii_case("wait") && !std::mem::replace(&mut waits, true) {
                prefer.wait = value.parse().ok().map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX));
            }
            if name.eq_ignore_ascii_case("respond-async") && !std::mem::replace(&mut asks, true) {
                prefer.at_once = true;
            }
        }
        prefer
    }
}

/// The items of a list, without their parameters; commas and semicolons in quotes separate nothing.
fn items(line: &str) -> Vec<&str> {
    let (mut items, mut begin, mut quoted, mut parameters) = (vec![], 0, false, None);
    for (at, sign) in line.bytes().enumerate().chain([(line.len(), b',')]) {
        match sign {
            b'"' => quoted = !quoted,
            b';' if !quoted => parameters = parameters.or(Some(at)),
            b',' if !quoted || at == line.len() => {
                items.push(line.get(begin..parameters.unwrap_or(at)).unwrap_or_default().trim());
                (begin, parameters) = (at + 1, None);
            }
            _ => {}
        }
    }
    items
}

/// Tells what the handler went by.
pub async fn applied(request: Request, next: Next) -> Response {
    GOES_BY
        .scope(RefCell::new(None), async move {
            let mut response = next.run(request).await;
            let applied = GOES_BY.with(|goes_by| goes_by.borrow_mut().take());
            if let Some(applied) = applied.and_then(|applied| HeaderValue::from_str(&applied).ok()) {
                response.headers_mut().insert(APPLIED, applied);
            }
            response
        })
        .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_the_rules_say() {
        for (lines, wait, at_once) in [
            (vec![], None, false),
            (vec!["wait=10"], Some(10), false),
            (vec!["Wait = 10"], Some(10), false),
            (vec!["wait=\"10\""], Some(10), false),
            (vec!["respond-async, wait=10"], Some(10), true),
            (vec!["return=minimal; foo=\"a,wait=3\", wait=7;x=y"], Some(7), false),
            (vec!["foo=\"wait=3, wait=4\"", "wait=5"], Some(5), false),
            (vec!["wait=5, wait=9"], Some(5), false),
            (vec!["wait=9999"], Some(60), false),
            (vec!["wait=soon"], None, false),
            (vec!["wait=-1"], None, false),
            (vec!["wait"], None, false),
            (vec!["handling=lenient, priority=5", "RESPOND-ASYNC"], None, true),
            (vec!["foo=\"unclosed, wait=3"], None, false),
        ] {
            let headers: HeaderMap = lines.iter().map(|line| (HeaderName::from_static("prefer"), HeaderValue::from_str(line).unwrap())).collect();
            assert_eq!(Prefer::read(&headers), Prefer { wait: wait.map(Duration::from_secs), at_once }, "{lines:?}");
        }
    }
}
