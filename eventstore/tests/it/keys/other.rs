//! Another process that has a key store open: this very binary, which does line by line what it is asked. Never does anything
//! when it is run as the test it looks like.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;

use eventstore::keystore::{Error, KeyId, KeyStore, Lookup};

const KEK: [u8; 32] = [1; 32];
const NEW_KEK: [u8; 32] = [2; 32];
const NAME: &str = "keys::other::another_process";

/// Another process, which does what it is asked.
pub struct Other {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts it, and waits until it has the store open.
    pub fn start(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([NAME, "--exact", "--nocapture"]).env("SHARED_STORE", dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut other = Self { process, input, output };
        assert_eq!(other.answer().unwrap(), "open");
        other
    }

    /// Asks for something that will take a while.
    pub fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").unwrap();
    }

    /// What it says next; nothing once it was killed.
    pub fn answer(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            match line.split_once("> ") {
                _ if !line.ends_with('\n') => return None,
                Some((_, answer)) => return Some(answer.trim_end().to_owned()),
                None => {} // the test harness has its say
            }
        }
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, what: &str) -> String {
        self.tell(what);
        self.answer().unwrap_or_else(|| panic!("no answer to '{what}'"))
    }

    /// Kills it, and answers what it had said until then.
    pub fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.answer()).collect()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _it_may_have_been_killed = (self.process.kill(), self.process.wait());
    }
}

/// What the other process does.
#[test]
fn another_process() {
    let Ok(dir) = std::env::var("SHARED_STORE") else { return };
    let store = KeyStore::open_or_make(Path::new(&dir), &KEK).unwrap();
    say("open");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "make" => say(&told(store.get_or_make(rest), |key| key.id.to_string())),
            "get" => say(&told(store.get(rest), |key| key.map_or("none".to_owned(), |key| key.id.to_string()))),
            "look" => say(&look(&store, rest.parse().unwrap())),
            "erase" => say(&told(store.erase(rest, 1), |gone| gone.len().to_string())),
            "rewrap" => say(&told(store.rewrap(&KEK, &NEW_KEK), |count| count.to_string())),
            "all" => say(&all(&store, rest.parse().unwrap())),
            "hammer" => say(&hammer(&store, rest.parse().unwrap())),
            "until" => say(&until(&store, rest)),
            "churn" => churn(&store, rest),
            _ => panic!("what is '{line}'?"),
        }
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {what}").and_then(|()| out.flush()).unwrap();
}

fn told<T>(done: Result<T, Error>, text: impl FnOnce(T) -> String) -> String {
    match done {
        Ok(value) => text(value),
        Err(Error::WrongKek(_)) => "wrong kek".to_owned(),
        Err(Error::Lost { .. }) => "lost".to_owned(),
        Err(failed) => format!("failed: {failed}"),
    }
}

/// What there is under an id, in a word.
pub fn look(store: &KeyStore, id: KeyId) -> String {
    told(store.look_up(id), |found| if matches!(found, Lookup::Key(_)) { "key".to_owned() } else { "erased".to_owned() })
}

/// Makes keys for the same 1,000 subjects as the others, with threads that begin at different ones.
fn all(store: &KeyStore, turn: usize) -> String {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || (0..1000).for_each(|number| drop(store.get_or_make(&format!("s{}", (number + 250 * thread + 60 * turn) % 1000)).unwrap())));
        }
    });
    (0..1000).map(|number| store.get(&format!("s{number}")).unwrap().unwrap().id.to_string()).collect::<Vec<_>>().join(",")
}

/// Looks up a key again and again until it is erased, and all subjects' keys between, which are read from the file.
fn hammer(store: &KeyStore, id: KeyId) -> String {
    for round in 0.. {
        match look(store, id).as_str() {
            "key" => {}
            last => return format!("{last} after {round}"),
        }
        for number in 0..50 {
            let found = told(store.get(&format!("s{}", (round * 50 + number) % 20_000)), |key| key.is_some().to_string());
            assert_eq!(found, "true");
        }
    }
    unreachable!()
}

/// Makes keys until it is refused, and says which were made, and why no more were.
fn until(store: &KeyStore, name: &str) -> String {
    let mut said = Vec::new();
    while said.last().is_none_or(|last: &String| KeyId::from_str(last).is_ok()) {
        said.push(told(store.get_or_make(&format!("{name}{}", said.len())), |key| key.id.to_string()));
    }
    said.join(",")
}

/// Makes and erases keys until it is killed, and says which were made.
fn churn(store: &KeyStore, name: &str) {
    for round in 0.. {
        let names: Vec<String> = (0..40).map(|number| format!("{name}-{round}-{number}")).collect();
        store.make_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for name in &names[1..] {
            say(&format!("{name} {}", store.get(name).unwrap().unwrap().id));
        }
        store.erase(&names[0], 1).unwrap();
    }
}
