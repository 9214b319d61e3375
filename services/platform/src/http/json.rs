//! JSON as callers write it: numbers stay the text they are, names are given once, and what is wrong is said with its
//! place. Knows no field.

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// nothing
    Null,
    /// yes or no
    Bool(bool),
    /// as it was written
    Number(String),
    /// without its quotes
    Text(String),
    /// in order
    List(Vec<Json>),
    /// in order
    Object(Object),
    /// the value of a query's parameter: text that may stand for a number
    Parameter(String),
}

/// Names with their values.
pub type Object = Vec<(String, Json)>;

/// Lists and objects within each other; no route asks for half as many.
const DEPTH_MAX: usize = 16;

/// What a body says; or why it is none, in words for its writer.
pub fn parse(bytes: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(bytes).map_err(|why| format!("the body is not UTF-8: byte {} begins no character", why.valid_up_to()))?;
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.space();
    if parser.at < text.len() { Err(parser.wrong("nothing follows the first value")) } else { Ok(value) }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether the next sign that is no space is this one; takes it.
    fn takes(&mut self, sign: u8) -> bool {
        self.space();
        let found = self.peek() == Some(sign);
        self.at += usize::from(found);
        found
    }

    fn wrong(&self, rule: &str) -> String {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        if self.at >= self.text.len() {
            return "the body ends before its JSON is whole".to_owned();
        }
        format!("the body is not JSON: {rule} (line {line}, column {column})")
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        self.space();
        match self.peek() {
            Some(b'{') if depth < DEPTH_MAX => self.object(depth),
            Some(b'[') if depth < DEPTH_MAX => self.list(depth),
            Some(b'{' | b'[') => Err(format!("the body has more than {DEPTH_MAX} lists and objects within each other")),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Json, String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
            if !rest.is_empty() && word.starts_with(rest) {
                self.at = self.text.len(); // cut off in the middle of it
            }
        }
        Err(self.wrong("a value is text in quotes, a number, a list, an object, true, false or null"))
    }

    fn number(&mut self) -> Result<Json, String> {
        let begin = self.at;
        let digits = |parser: &mut Self| {
            let first = parser.at;
            while matches!(parser.peek(), Some(b'0'..=b'9')) {
                parser.at += 1;
            }
            parser.at > first
        };
        self.at += usize::from(self.peek() == Some(b'-'));
        let zero = self.peek() == Some(b'0');
        let first = self.at;
        if !digits(self) || (zero && self.at > first + 1) {
            self.at = self.at.min(first + usize::from(zero)); // there, and not at the end
            return Err(self.wrong("a number is digits, without zeros before them"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !digits(self) {
                return Err(self.wrong("after a number's point there are digits"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if !digits(self) {
                return Err(self.wrong("a number's exponent is digits"));
            }
        }
        Ok(Json::Number(self.text.get(begin..self.at).unwrap_or_default().to_owned()))
    }

    fn string(&mut self) -> Result<String, String> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(0..=31) => return Err(self.wrong("control characters are written as escapes")),
                Some(_) => self.at += 1,
                None => {
                    self.at = self.text.len();
                    return Err(self.wrong("text ends with a quote"));
                }
            }
        }
        self.at += 1;
        let token = self.text.get(begin..self.at).unwrap_or_default();
        serde_json::from_str(token).map_err(|_| {
            self.at = begin;
            self.wrong("this text has an escape that there is not")
        })
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = vec![];
        if self.takes(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Json::List(items));
            }
            if !self.takes(b',') {
                return Err(self.wrong("a list's items are separated by commas"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut fields = vec![];
        if self.takes(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("an object's fields have names in quotes"));
            }
            let name = self.string()?;
            if !self.takes(b':') {
                return Err(self.wrong("a colon stands between a field's name and its value"));
            }
            fields.push((name, self.value(depth + 1)?));
            if self.takes(b'}') {
                return Ok(Json::Object(fields));
            }
            if !self.takes(b',') {
                return Err(self.wrong("an object's fields are separated by commas"));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn plain(value: &Json) -> serde_json::Value {
        match value {
            Json::Null => serde_json::Value::Null,
            Json::Bool(yes) => (*yes).into(),
            Json::Number(text) => serde_json::from_str(text).unwrap(),
            Json::Text(text) | Json::Parameter(text) => text.clone().into(),
            Json::List(items) => items.iter().map(plain).collect(),
            Json::Object(fields) => serde_json::Value::Object(fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect()),
        }
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        for number in ["0", "-0", "19.990000000000000001", "1e400", "123456789012345678901234567890", "1.10"] {
            assert_eq!(parse(format!(" [{number}] ").as_bytes()), Ok(Json::List(vec![Json::Number(number.to_owned())])));
        }
    }

    #[test]
    fn what_is_no_json_is_said_with_its_place() {
        for (body, said) in [
            ("", "ends before"),
            ("{\"a\":", "ends before"),
            ("{\"a\": \"b", "ends before"),
            ("tru", "ends before"),
            ("{\"a\":1,}", "names in quotes (line 1, column 8)"),
            ("{\n a: 1}", "names in quotes (line 2, column 2)"),
            ("{\"a\" 1}", "colon"),
            ("[1 2]", "commas"),
            ("01", "zeros"),
            ("1.", "ends before"),
            ("+1", "a value is"),
            ("NaN", "a value is"),
            ("\"\\x\"", "escape"),
            ("\"\\ud800\"", "escape"),
            ("{} {}", "nothing follows"),
        ] {
            let why = parse(body.as_bytes()).unwrap_err();
            assert!(why.contains(said), "{body}: {why}");
        }
        assert!(parse(b"\"\xff\"").unwrap_err().contains("not UTF-8"));
        assert!(parse("[".repeat(1_000_000).as_bytes()).unwrap_err().contains("within each other"));
    }

    #[test]
    fn it_takes_what_others_take() {
        const SIGNS: &[u8] = b"[]{}:,\"\\ab019.eE+- \n";
        let mut random = StdRng::seed_from_u64(7);
        let mut whole = 0;
        for round in 0..200_000 {
            let text: String = (0..random.random_range(1..14)).map(|_| char::from(SIGNS[random.random_range(0..SIGNS.len())])).collect();
            let ours = parse(text.as_bytes());
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(theirs) => {
                    whole += 1;
                    assert_eq!(ours.as_ref().map(plain), Ok(theirs), "{round}: {text}");
                }
                // Theirs ends where a float does.
                Err(why) => assert!(ours.is_err() || why.to_string().contains("out of range"), "{round}: {text}: {ours:?}"),
            }
        }
        assert!(whole > 500, "only {whole} of them were JSON");
    }
}
