//! Conditions of a request on the state it meets (RFC 9110, 13): entity tags, one or several or any, compared strongly or
//! weakly. A tag of ours is an aggregate's version in quotes.

use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};

use super::failure::Failure;

/// Most tags of a condition.
const TAGS_MAX: usize = 100;

/// What a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// whatever there is
    Any,
    /// these
    Listed(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    text: String,
}

impl Tags {
    /// The condition of this name; none if the request has none.
    fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Failure> {
        let wrong = || Failure::bad(&format!("/headers/{name}"), "a tag in quotes as ETag gives it, several of them separated by commas, or *");
        let lines: Vec<&str> = headers.get_all(name).iter().map(|line| line.to_str().map_err(|_| wrong())).collect::<Result<_, _>>()?;
        if lines.is_empty() {
            return Ok(None);
        }
        let text = lines.join(",");
        if text.trim() == "*" {
            return Ok(Some(Self::Any));
        }
        let (mut rest, mut tags) = (text.trim(), vec![]);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start(); // an empty item of a list says nothing
                continue;
            }
            let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
            let (tag, after) = quoted.strip_prefix('"').and_then(|open| open.split_once('"')).ok_or_else(wrong)?;
            tags.push(Tag { weak, text: tag.to_owned() });
            rest = after.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(wrong());
            }
        }
        if tags.is_empty() || tags.len() > TAGS_MAX { Err(wrong()) } else { Ok(Some(Self::Listed(tags))) }
    }

    fn matches(&self, version: u64, weakly: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| (weakly || !tag.weak) && tag.text == version.to_string()),
        }
    }
}

/// What a read of a state that stands at `version` is answered with, if not with the state.
pub fn of_read(headers: &HeaderMap, version: u64) -> Result<Option<StatusCode>, Failure> {
    if Tags::of(headers, &IF_MATCH)?.is_some_and(|tags| !tags.matches(version, false)) {
        return Err(Failure::refused("version-conflict", format!("it is at version {version}, which is none of those in If-Match")));
    }
    let known = Tags::of(headers, &IF_NONE_MATCH)?.is_some_and(|tags| tags.matches(version, true));
    Ok(known.then_some(StatusCode::NOT_MODIFIED))
}

/// Where an aggregate must stand for a command to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// exactly there
    pub version: Option<u64>,
    /// at one of these; if there are none, anywhere, but there must be one
    pub any: Option<Vec<u64>>,
}

/// What a command's request expects.
pub fn of_command(headers: &HeaderMap) -> Result<Expected, Failure> {
    let (matched, unmatched) = (Tags::of(headers, &IF_MATCH)?, Tags::of(headers, &IF_NONE_MATCH)?);
    match (matched, unmatched) {
        (None, None) => Ok(Expected::default()),
        (None, Some(Tags::Any)) => Ok(Expected { version: Some(0), any: None }),
        (_, Some(_)) => Err(Failure::bad("/headers/if-none-match", "a command takes If-None-Match: *, for what is not there yet, and no If-Match besides")),
        (Some(Tags::Any), None) => Ok(Expected { version: None, any: Some(vec![]) }),
        (Some(Tags::Listed(tags)), None) => {
            // A weak tag matches nothing strongly, and one that is no version was never ours.
            let versions: Vec<u64> =
                tags.iter().filter(|tag| !tag.weak).filter_map(|tag| tag.text.parse().ok().filter(|version: &u64| version.to_string() == tag.text)).collect();
            match versions[..] {
                [] => Err(Failure::refused("version-conflict", "none of the tags in If-Match is a strong one of ours")),
                [version] => Ok(Expected { version: Some(version), any: None }),
                _ => Ok(Expected { version: None, any: Some(versions) }),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn headers(given: &[(HeaderName, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn reads_are_compared_as_the_rules_say() {
        for (name, value, status) in [
            (IF_NONE_MATCH, "\"7\"", 304),
            (IF_NONE_MATCH, "W/\"7\"", 304),
            (IF_NONE_MATCH, "\"6\", W/\"7\"", 304),
            (IF_NONE_MATCH, "\"a,b\",\"7\"", 304),
            (IF_NONE_MATCH, "*", 304),
            (IF_NONE_MATCH, "\"6\"", 200),
            (IF_NONE_MATCH, "\"77\"", 200),
            (IF_NONE_MATCH, "7", 400),
            (IF_NONE_MATCH, "\"7", 400),
            (IF_NONE_MATCH, "w/\"7\"", 400),
            (IF_NONE_MATCH, "", 400),
            (IF_MATCH, "\"7\"", 200),
            (IF_MATCH, "*", 200),
            (IF_MATCH, "\"6\",\"7\"", 200),
            (IF_MATCH, "W/\"7\"", 412),
            (IF_MATCH, "\"6\"", 412),
            (IF_MATCH, "\"x\" \"7\"", 400),
        ] {
            let found = of_read(&headers(&[(name.clone(), value)]), 7);
            let found = found.map_or_else(|failure| failure.status().as_u16(), |status| status.map_or(200, |status| status.as_u16()));
            assert_eq!(found, status, "{name}: {value}");
        }
    }

    #[test]
    fn commands_expect_what_they_say() {
        let expected = |given: &[(HeaderName, &str)]| of_command(&headers(given)).map_err(|failure| failure.status().as_u16());
        let at = |version| Ok(Expected { version: Some(version), any: None });
        assert_eq!(expected(&[]), Ok(Expected::default()));
        assert_eq!(expected(&[(IF_MATCH, "\"3\"")]), at(3));
        assert_eq!(expected(&[(IF_NONE_MATCH, "*")]), at(0));
        assert_eq!(expected(&[(IF_MATCH, "*")]), Ok(Expected { version: None, any: Some(vec![]) }));
        assert_eq!(expected(&[(IF_MATCH, "\"3\", \"5\"")]), Ok(Expected { version: None, any: Some(vec![3, 5]) }));
        assert_eq!(expected(&[(IF_MATCH, "\"3\", W/\"5\"")]), at(3));
        assert_eq!(expected(&[(IF_MATCH, "W/\"3\"")]), Err(412));
        assert_eq!(expected(&[(IF_MATCH, "\"latest\"")]), Err(412));
        assert_eq!(expected(&[(IF_MATCH, "\"01\", \"+3\"")]), Err(412));
        assert_eq!(expected(&[(IF_MATCH, "3")]), Err(400));
        assert_eq!(expected(&[(IF_NONE_MATCH, "\"3\"")]), Err(400));
        assert_eq!(expected(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]), Err(400));
    }
}
