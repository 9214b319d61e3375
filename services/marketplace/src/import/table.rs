//! Rows of a delimited text file (RFC 4180), with the number of the line each begins at. A quote that is never closed
//! costs its own line and no other: what it would have swallowed is read as the lines it is.

use std::str::FromStr;

/// Most bytes of a quoted text past its first line: a longer one has lost its end.
const SPAN_BYTES_MAX: usize = 16 * 1024;

/// What separates fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiter(pub u8);

/// Those that are tried on a file's first line.
pub const TRIED: [Delimiter; 4] = [Delimiter(b','), Delimiter(b';'), Delimiter(b'\t'), Delimiter(b'|')];

impl FromStr for Delimiter {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.as_bytes()) {
            ("tab" | "\\t", _) => Ok(Self(b'\t')),
            (_, [byte]) if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte) => Ok(Self(*byte)),
            _ => Err("one sign such as ',' or ';', or 'tab'".to_owned()),
        }
    }
}

/// A row.
#[derive(Debug)]
pub struct Record {
    /// the line it begins at, the file's first being 1
    pub line: u64,
    /// its fields; none if a quote in it is not closed where it should be
    pub fields: Option<Vec<Vec<u8>>>,
}

/// The fields of the file's first row.
pub fn header(bytes: &[u8], Delimiter(delimiter): Delimiter) -> Option<Vec<Vec<u8>>> {
    one(bytes, delimiter).map(|row| row.fields)
}

/// All rows but empty ones. `columns` is how many fields a whole row has.
pub fn records(bytes: &[u8], Delimiter(delimiter): Delimiter, columns: usize) -> Vec<Record> {
    let (mut records, mut rest, mut line) = (vec![], bytes, 1);
    while !rest.is_empty() {
        let first = line_end(rest);
        if first.content > 0 {
            // A quoted text with whole rows in it is one that another row's quote happened to close.
            let row = one(rest, delimiter).filter(|row| row.lines == 1 || !swallows(&rest[..row.bytes], delimiter, columns));
            let (used, lines) = row.as_ref().map_or((first.whole, 1), |row| (row.bytes, row.lines));
            records.push(Record { line, fields: row.map(|row| row.fields) });
            (rest, line) = (&rest[used..], line + lines);
        } else {
            (rest, line) = (&rest[first.whole..], line + 1);
        }
    }
    records
}

struct End {
    content: usize,
    whole: usize,
}

/// Where the first line of these bytes ends, without and with what ends it.
fn line_end(bytes: &[u8]) -> End {
    let content = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    End { content, whole: content + ending(&bytes[content..]) }
}

/// How many bytes end a line here.
fn ending(bytes: &[u8]) -> usize {
    match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => 0,
    }
}

fn swallows(row: &[u8], delimiter: u8, columns: usize) -> bool {
    let mut rest = &row[line_end(row).whole..];
    while !rest.is_empty() {
        let line = line_end(rest);
        if one(&rest[..line.content], delimiter).is_some_and(|row| row.fields.len() == columns) {
            return true;
        }
        rest = &rest[line.whole..];
    }
    false
}

struct Row {
    fields: Vec<Vec<u8>>,
    bytes: usize,
    lines: u64,
}

/// The row that these bytes begin with.
fn one(bytes: &[u8], delimiter: u8) -> Option<Row> {
    let (mut fields, mut at, mut lines) = (vec![], 0, 1);
    loop {
        let field = if bytes.get(at) == Some(&b'"') {
            let (field, used, more) = quoted(&bytes[at..])?;
            (at, lines) = (at + used, lines + more);
            field
        } else {
            let used = bytes[at..].iter().position(|byte| *byte == delimiter || matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len() - at);
            at += used;
            bytes[at - used..at].to_vec()
        };
        fields.push(field);
        match bytes.get(at) {
            Some(byte) if *byte == delimiter => at += 1,
            None | Some(b'\r' | b'\n') => return Some(Row { fields, bytes: at + ending(&bytes[at..]), lines }),
            Some(_) => return None, // something stands after a closing quote
        }
    }
}

/// A quoted field, how many bytes it takes, and how many lines end in it.
fn quoted(bytes: &[u8]) -> Option<(Vec<u8>, usize, u64)> {
    let (mut field, mut at, mut lines, mut most) = (vec![], 1, 0, usize::MAX);
    loop {
        match &bytes[at.min(bytes.len())..] {
            [b'"', b'"', ..] => {
                field.push(b'"');
                at += 2;
            }
            [b'"', ..] => return Some((field, at + 1, lines)),
            [] => return None,
            rest => {
                let taken = ending(rest).max(1);
                if ending(rest) > 0 {
                    lines += 1;
                    most = most.min(at.saturating_add(SPAN_BYTES_MAX));
                }
                field.extend_from_slice(&rest[..taken]);
                at += taken;
            }
        }
        if at > most {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row as its line and its fields joined by `|`; `!` for one whose quotes are wrong.
    fn read(text: &str, columns: usize) -> Vec<(u64, String)> {
        let joined = |fields: Vec<Vec<u8>>| fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect::<Vec<_>>().join("|");
        records(text.as_bytes(), Delimiter(b','), columns).into_iter().map(|row| (row.line, row.fields.map_or("!".to_owned(), joined))).collect()
    }

    #[test]
    fn rows_keep_their_lines_whatever_their_quotes() {
        for (text, rows) in [
            ("a,b\r\n\r\nc,d", vec![(1, "a|b"), (3, "c|d")]),
            ("a,\"b\nb\"\nc,d\n", vec![(1, "a|b\nb"), (3, "c|d")]),
            ("a,\"b \"\"x\"\", y\"\n", vec![(1, "a|b \"x\", y")]),
            ("a,b\"b\n", vec![(1, "a|b\"b")]),
            ("a,\n,b\n", vec![(1, "a|"), (2, "|b")]),
            ("a,\"b\nc,d\ne,f", vec![(1, "!"), (2, "c|d"), (3, "e|f")]),
            ("a,\"b\nc,d\ne,\"f\"", vec![(1, "!"), (2, "c|d"), (3, "e|f")]),
            ("a,\"b\nc,d\ne,f\"", vec![(1, "!"), (2, "c|d"), (3, "e|f\"")]),
            ("a,\"\"\nb,\"\"\"\"", vec![(1, "a|"), (2, "b|\"")]),
            ("\"", vec![(1, "!")]),
        ] {
            assert_eq!(read(text, 2), rows.into_iter().map(|(line, row)| (line, row.to_owned())).collect::<Vec<_>>(), "{text:?}");
        }
        let long = format!("a,\"b\n{}\nc,d", "x\n".repeat(SPAN_BYTES_MAX));
        assert_eq!(read(&long, 2).len(), SPAN_BYTES_MAX + 2);
    }
}
