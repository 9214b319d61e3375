//! What shows a running system who asks: an access token from the environment, or the pair that `login` left in a file that its
//! owner alone reads. Gets the next pair before the token is too old, one process at a time.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The variable that holds an access token.
pub const TOKEN: &str = "DAYBOOK_TOKEN";
/// The variable that says where pairs are kept, if not in the user's own folder.
pub const TOKEN_FILE: &str = "DAYBOOK_TOKEN_FILE";
/// A token is renewed when it has no more than this many seconds left.
const RENEWED_BEFORE: i64 = 60;

/// How long a renewal may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A pair of tokens, and whose.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pair {
    /// shows who asks
    pub access_token: String,
    /// gets the next pair, once
    pub refresh_token: String,
    /// when the access token is worth nothing, in seconds since 1970
    pub expires_at: i64,
    /// the session's id
    pub session: String,
    /// the address that was signed in with
    pub email: String,
}

impl Pair {
    /// From what a sign-in or a renewal answered.
    pub fn of(answer: &Value, email: &str) -> anyhow::Result<Self> {
        let text = |field: &str| answer.get(field).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("an answer without '{field}'"));
        let life = answer.get("expires_in").and_then(Value::as_i64).context("an answer without 'expires_in'")?;
        let (access_token, refresh_token, session) = (text("access_token")?, text("refresh_token")?, text("session")?);
        Ok(Self { access_token, refresh_token, expires_at: now() + life, session, email: email.to_owned() })
    }
}

/// How a connection shows who asks.
#[derive(Clone, Default)]
pub enum SignedIn {
    /// it does not
    #[default]
    No,
    /// with this token, as long as it lasts
    Token(Arc<str>),
    /// with the pair that is kept for this address
    Kept(Arc<Kept>),
}

/// A pair that is kept in a file, under the address of its system.
pub struct Kept {
    url: String,
    pair: Mutex<Pair>,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl SignedIn {
    /// Of the environment, for a system at one of these addresses.
    pub fn at(urls: &[String]) -> Self {
        if let Some(token) = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()) {
            return Self::Token(token.trim().into());
        }
        // One that cannot be read is said when somebody signs in; until then nothing is shown.
        let kept = read().unwrap_or_default();
        let found = urls.iter().find_map(|url| kept.get(url).map(|pair| (url.clone(), pair.clone())));
        found.map_or(Self::No, |(url, pair)| Self::Kept(Arc::new(Kept { url, pair: Mutex::new(pair) })))
    }

    /// The token to show now.
    pub async fn token(&self, client: &Client) -> anyhow::Result<Option<String>> {
        match self {
            Self::No => Ok(None),
            Self::Token(token) => Ok(Some(token.to_string())),
            Self::Kept(kept) => kept.token(client).await.map(Some),
        }
    }
}

impl Kept {
    async fn token(&self, client: &Client) -> anyhow::Result<String> {
        let mut pair = self.pair.lock().await;
        if pair.expires_at - now() <= RENEWED_BEFORE {
            *pair = self.renewed(client).await?;
        }
        Ok(pair.access_token.clone())
    }

    /// The next pair. Another process may have got it meanwhile: a refresh token that is shown twice ends its session.
    async fn renewed(&self, client: &Client) -> anyhow::Result<Pair> {
        let locked = tokio::task::spawn_blocking(Locked::new).await??;
        let mut kept = read()?;
        let pair = kept.get(&self.url).cloned().with_context(|| format!("signed out of {}: sign in with `login`", self.url))?;
        if pair.expires_at - now() > RENEWED_BEFORE {
            return Ok(pair);
        }
        let body = json!({ "refresh_token": pair.refresh_token });
        // Under one name: if the answer is lost, the same question has the same answer.
        let name = blake3::hash(pair.refresh_token.as_bytes()).to_hex().to_string();
        let request = || client.post(format!("{}/identity/sessions/refresh", self.url)).header("idempotency-key", &name).json(&body).timeout(ANSWER).send();
        let answer = match request().await {
            Ok(answer) => answer,
            Err(_) => request().await?,
        };
        if answer.status() == StatusCode::UNAUTHORIZED {
            bail!("the session at {} is over: sign in with `login`", self.url);
        }
        let next = Pair::of(&answer.error_for_status()?.json().await?, &pair.email)?;
        kept.insert(self.url.clone(), next.clone());
        write(&kept, &locked)?;
        Ok(next)
    }
}

/// Keeps a pair for these addresses, or forgets what is kept for them.
pub fn keep(urls: &[String], pair: Option<&Pair>) -> anyhow::Result<PathBuf> {
    let locked = Locked::new()?;
    let mut kept = read()?;
    for url in urls {
        match pair {
            Some(pair) => drop(kept.insert(url.clone(), pair.clone())),
            None => drop(kept.remove(url)),
        }
    }
    write(&kept, &locked)?;
    path()
}

/// What is kept for an address.
pub fn kept(url: &str) -> anyhow::Result<Option<Pair>> {
    Ok(read()?.remove(url))
}

fn path() -> anyhow::Result<PathBuf> {
    if let Some(file) = std::env::var_os(TOKEN_FILE) {
        return Ok(file.into());
    }
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Ok(folder.with_context(|| format!("where tokens are kept is not known: set {TOKEN_FILE}"))?.join("daybook/tokens.json"))
}

fn read() -> anyhow::Result<BTreeMap<String, Pair>> {
    let path = path()?;
    let about = || format!("tokens of `login` in {}", path.display());
    let mode = match std::fs::metadata(&path) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found.with_context(about)?.permissions().mode(),
    };
    ensure!(mode & 0o077 == 0, "{} can be read by others: chmod 600 it, and sign in anew if somebody may have", path.display());
    serde_json::from_slice(&std::fs::read(&path).with_context(about)?).with_context(about)
}

/// Nobody else writes the file while this lives.
struct Locked(#[allow(dead_code, reason = "held")] std::fs::File);

impl Locked {
    fn new() -> anyhow::Result<Self> {
        let path = path()?.with_extension("lock");
        let about = || format!("lock of tokens {}", path.display());
        path.parent().map_or(Ok(()), std::fs::create_dir_all).with_context(about)?;
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).with_context(about)?;
        file.lock().with_context(about)?;
        Ok(Self(file))
    }
}

fn write(kept: &BTreeMap<String, Pair>, _: &Locked) -> anyhow::Result<()> {
    let path = path()?;
    let new = path.with_extension("new");
    let about = || format!("tokens of `login` in {}", path.display());
    let mut out = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new).with_context(about)?;
    out.write_all(&serde_json::to_vec(kept)?).and_then(|()| out.sync_all()).with_context(about)?;
    std::fs::rename(&new, &path).with_context(about)
}
