//! `login` and `logout`: a session for the commands of this user on this machine.

use std::process::ExitCode;

use serde_json::json;

use super::password;
use crate::args::Targets;
use crate::client::connection::{Connection, Method};
use crate::client::signed_in::{Pair, SignedIn, keep, kept};
use crate::out;
use crate::uri::part;

/// Who signs in, and where.
#[derive(clap::Args)]
pub struct Login {
    /// The e-mail address of the account
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    #[command(flatten)]
    target: Targets,
}

/// Where.
#[derive(clap::Args)]
pub struct Logout {
    #[command(flatten)]
    target: Targets,
}

/// Signs in, and keeps the tokens for the commands that follow.
pub async fn login(args: Login) -> anyhow::Result<ExitCode> {
    let system = Connection::to(args.target.urls.iter().cloned()).showing(SignedIn::No);
    let body = json!({ "email": args.email, "password": password("password")? });
    let answer = system.ask(system.request(Method::POST, "/identity/sessions").json(&body), &["access_token", "refresh_token"]).await?;
    let path = keep(&args.target.urls, Some(&Pair::of(&answer, &args.email)?))?;
    out::line(format!("signed in at {} as {}; the session is kept in {}", args.target.urls.join(", "), args.email, path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Ends the session, and forgets its tokens.
pub async fn logout(args: Logout) -> anyhow::Result<ExitCode> {
    for url in &args.target.urls {
        let Some(pair) = kept(url)? else {
            out::line(format!("not signed in at {url}"));
            continue;
        };
        let system = Connection::to([url]);
        let ended = system.ask(system.request(Method::DELETE, &format!("/identity/sessions/{}", part(&pair.session))), &[]).await;
        keep(std::slice::from_ref(url), None)?;
        match ended {
            Ok(_) => out::line(format!("signed out of {url}")),
            Err(why) => out::line(format!("signed out of {url} on this machine; the session itself was not reached: {:#}", anyhow::Error::from(why))),
        }
    }
    Ok(ExitCode::SUCCESS)
}
