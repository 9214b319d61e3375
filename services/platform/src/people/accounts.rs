//! `accounts`: made, listed, shown, given roles, shut and opened.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{KeysAt, password};
use crate::application::Application;
use crate::args::{Output, Target};
use crate::client::connection::{Connection, Method, Retry};
use crate::out;
use crate::uri::part;

/// What is done.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    target: Target,
    /// How the result is printed
    #[arg(short, long, global = true, default_value = "table")]
    output: Output,
}

#[derive(Subcommand)]
enum What {
    /// Makes an account, with a password from the terminal or standard input; on the machine itself its signing keys are enough
    Create {
        /// The e-mail address it signs in with
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        /// What it may do, and the id that its own things begin with, as customer=17; can be given more than once
        #[arg(long = "role", value_name = "ROLE[=ID]", required = true)]
        roles: Vec<String>,
        #[command(flatten)]
        keys: KeysAt,
    },
    /// Lists accounts
    List,
    /// Shows an account
    Show {
        /// its id
        id: String,
    },
    /// Gives an account a role
    Grant {
        /// its id
        id: String,
        /// what it may do, and the id that its own things begin with
        #[arg(value_name = "ROLE[=ID]")]
        role: String,
    },
    /// Takes a role from an account
    Revoke {
        /// its id
        id: String,
        /// what it may do no longer
        role: String,
    },
    /// Shuts an account: its sessions are over, on every instance within seconds
    Disable {
        /// its id
        id: String,
        /// why
        #[arg(long)]
        reason: String,
    },
    /// Opens an account again
    Enable {
        /// its id
        id: String,
    },
}

/// Asks the running system.
pub async fn run(args: Args, application: &Application) -> anyhow::Result<ExitCode> {
    let system = Connection::to([&args.target.url]);
    let account = |id: &str| format!("/identity/accounts/{}", part(id));
    let shown = match args.what {
        What::Create { email, roles, keys } => {
            // Whoever may read the signing keys needs no account, and so can make the first one.
            let machine = keys.machine(application.name);
            let system = match machine {
                Ok(machine) => system.showing(machine),
                Err(why) if !system.is_signed_in() => return Err(why),
                Err(_) => system,
            };
            let roles: Vec<Value> = roles.iter().map(|text| role(text)).collect();
            let body = json!({ "email": email, "password": password("password of the new account")?, "roles": roles });
            vec![system.ask(system.request(Method::POST, "/identity/accounts").json(&body), &["id"]).await?]
        }
        What::List => {
            let listed =
                system.list::<Value>("/identity/accounts", 500, &Retry::every(std::time::Duration::from_millis(200), std::time::Duration::ZERO)).await?;
            listed.map(|listing| listing.items).unwrap_or_default()
        }
        What::Show { id } => vec![system.ask(system.get(&account(&id)), &["id"]).await?],
        What::Grant { id, role: text } => vec![done(&system, Method::POST, &format!("{}/roles", account(&id)), &role(&text)).await?],
        What::Revoke { id, role } => vec![done(&system, Method::DELETE, &format!("{}/roles/{}", account(&id), part(&role)), &Value::Null).await?],
        What::Disable { id, reason } => vec![done(&system, Method::POST, &format!("{}/disable", account(&id)), &json!({ "reason": reason })).await?],
        What::Enable { id } => vec![done(&system, Method::POST, &format!("{}/enable", account(&id)), &json!({})).await?],
    };
    match args.output {
        Output::Json if shown.len() == 1 => out::line(format_args!("{:#}", shown[0])),
        Output::Json => out::line(format_args!("{:#}", Value::from(shown))),
        Output::Table => people(&shown),
    }
    Ok(ExitCode::SUCCESS)
}

/// `customer=17` as the routes take it.
fn role(text: &str) -> Value {
    let (role, owns) = text.split_once('=').map_or((text, None), |(role, owns)| (role, Some(owns)));
    owns.map_or_else(|| json!({ "role": role }), |owns| json!({ "role": role, "owns": owns }))
}

async fn done(system: &Connection, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
    let request = system.request(method, path).header("prefer", "wait=30");
    let request = if body.is_null() { request } else { request.json(body) };
    Ok(system.ask(request, &["outcome"]).await?)
}

fn people(shown: &[Value]) {
    let text = |row: &Value, field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let [one] = shown
        && one.get("email").is_none()
    {
        return out::line(format!("{}: {}", text(one, "id"), text(one, "outcome")));
    }
    let mut table = out::table(["id", "e-mail", "status", "roles", "since"]);
    for row in shown {
        let roles = row.get("roles").and_then(Value::as_object).into_iter().flatten();
        let roles: Vec<String> = roles.map(|(role, owns)| owns.as_str().map_or_else(|| role.clone(), |owns| format!("{role}={owns}"))).collect();
        table.add_row([text(row, "id"), text(row, "email"), text(row, "status"), roles.join(" "), text(row, "since")]);
    }
    out::line(table);
}
