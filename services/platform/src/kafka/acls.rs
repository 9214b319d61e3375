//! `kafka-acls`: what each service must be allowed on a Kafka that knows its clients, made from what the application declares.
//! Asks no broker, and allows nothing that no process of the service does.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use eventstore::kafka::{APPENDS, READERS};
use eventstore::service::inputs;
use schemas::{Stream, Topic, topic};

use crate::application::Application;
use crate::capability::Capability;
use crate::identity::audit;
use crate::misuse::misused;
use crate::out;

/// Whose rights, and how they are printed.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    whose: Whose,
    /// Lines, as infra/kafka/kafka takes them, or commands of Kafka's own tool
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "lines")]
    format: Format,
}

/// Whose rights.
#[derive(clap::Args)]
pub struct Whose {
    /// The services whose rights are printed [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Who signs in for a service, as ACLs name it
    #[arg(long, value_name = "TEXT", default_value = "User:{service}")]
    principal: String,
    /// A service whose processes take commands for all others over HTTP too, or `all`; can be given more than once
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    http: Vec<String>,
    /// A service at whose processes operators look and settle things, or the name of somebody else who may; can be given more than once
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    operator: Vec<String>,
    /// What stands before every topic, group and transactional id
    #[arg(long, env = "DAYBOOK_NAMESPACE", value_name = "TEXT")]
    namespace: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Lines,
    #[value(name = "kafka-acls.sh")]
    Commands,
}

/// One right of one principal, from any host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// who, as `User:cart`
    pub principal: String,
    /// `Topic`, `Group` or `TransactionalId`
    pub resource: &'static str,
    /// whether it holds for every name that begins with this one
    pub prefixed: bool,
    /// of the resource
    pub name: String,
    /// as `Read`
    pub operation: &'static str,
}

impl fmt::Display for Acl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = if self.prefixed { "PREFIXED" } else { "LITERAL" };
        write!(out, "{} {} {} {pattern} {}", self.principal, self.operation, self.resource, self.name)
    }
}

/// What is asked for: the services, in the words of the command line.
pub struct Wanted<'a> {
    /// of these
    pub services: &'a [String],
    /// `{service}` stands for a service's name
    pub principal: &'a str,
    /// those that take every service's commands
    pub http: &'a [String],
    /// those that operators use
    pub operators: &'a [String],
    /// before every name
    pub namespace: &'a str,
}

/// Prints them.
pub fn run(args: &Args, application: &Application) -> anyhow::Result<ExitCode> {
    let acls = args.whose.acls(&application.services())?;
    match args.format {
        Format::Lines => acls.iter().for_each(out::line),
        Format::Commands => commands(&acls).into_iter().for_each(out::line),
    }
    Ok(ExitCode::SUCCESS)
}

impl Whose {
    /// What stands before every name.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The rights, each once.
    ///
    /// # Errors
    /// Misuse, where a service or a principal cannot be.
    pub fn acls(&self, all: &[Capability]) -> anyhow::Result<Vec<Acl>> {
        let known: Vec<&str> = all.iter().map(|capability| capability.service.name).collect();
        let mut services = self.services.iter().chain(self.http.iter().filter(|name| *name != "all"));
        if let Some(other) = services.find(|service| !known.contains(&service.as_str())) {
            misused!("there is no service '{other}': {}", known.join(", "));
        }
        let (principal, namespace) = (self.principal.as_str(), self.namespace());
        let acls = acls(all, &Wanted { services: &self.services, principal, http: &self.http, operators: &self.operator, namespace });
        let odd = |char: char| char.is_whitespace() || char.is_control() || matches!(char, '\'' | '"' | '*' | '\\' | '`' | '$');
        if let Some(broken) = acls.iter().find(|acl| acl.principal.contains(odd) || !acl.principal.contains(':')) {
            misused!("--principal or --operator: '{}' is nobody: TYPE:NAME, without spaces, quotes and *", broken.principal.escape_debug());
        }
        if !namespace.chars().all(|char| char.is_ascii_alphanumeric() || "._-".contains(char)) {
            misused!("--namespace: '{}' cannot begin a topic's name: letters, digits, '.', '_' and '-' can", namespace.escape_debug());
        }
        Ok(acls)
    }
}

/// The rights of one principal, as they are gathered.
struct Rights<'a> {
    principal: String,
    namespace: &'a str,
    acls: Vec<Acl>,
}

impl Rights<'_> {
    fn may(&mut self, operations: &[&'static str], resource: &'static str, prefixed: bool, name: &str) {
        let (principal, name) = (&self.principal, format!("{}{name}", self.namespace));
        self.acls.extend(operations.iter().map(|operation| Acl { principal: principal.clone(), resource, prefixed, name: name.clone(), operation }));
    }

    fn topic(&mut self, operations: &[&'static str], topic: &Topic) {
        self.may(operations, "Topic", false, topic.as_str());
    }

    /// What every process does: it looks at all topics, knows the log's identity and who owns what, hears answers, folds what
    /// every process folds, and tells the audit trail whom it refused.
    fn of_process(&mut self, all: &[Capability]) {
        for prefix in prefixes(all, self.namespace) {
            self.may(&["Describe", "DescribeConfigs"], "Topic", true, &prefix);
        }
        READERS.iter().for_each(|group| self.may(&["Describe"], "Group", false, group));
        self.topic(&["Read"], &topic(Stream::Control));
        for shared in [Stream::Claims, Stream::Replies] {
            self.topic(&["Read", "Write"], &topic(shared));
        }
        for capability in all.iter().filter(|capability| !capability.everywhere.is_empty()) {
            self.topic(&["Read"], &capability.service.events());
        }
        self.topic(&["Write"], &topic(Stream::Commands(audit::SERVICE)));
    }

    /// What its worker, its router, its views and its routes do.
    fn of_service(&mut self, capability: &Capability, all: &[Capability]) {
        let service = &capability.service;
        self.topic(&["Read", "Write"], &service.commands());
        self.topic(&["Read", "Write"], &service.events());
        // Read, since a command that nobody knows may have ended there.
        self.topic(&["Read", "Write"], &service.dead_letters());
        for followed in [&service.direct, &service.routed].into_iter().flat_map(|reactions| inputs(reactions)) {
            self.topic(&["Read"], &followed);
        }
        for asked in capability.asks {
            self.topic(&["Write"], &topic(Stream::Commands(asked)));
        }
        for other in all.iter().map(|other| &other.service).filter(|other| capability.reads_all && !other.private) {
            [other.commands(), other.events(), other.dead_letters()].iter().for_each(|topic| self.topic(&["Read"], topic));
        }
        groups(capability).iter().for_each(|group| self.may(&["Read"], "Group", false, group));
        self.may(&["Write"], "TransactionalId", true, &format!("{}.", service.name));
    }

    /// What operators do, but for reading what a service shows to nobody.
    fn of_operator(&mut self, all: &[Capability]) {
        for capability in all {
            let service = &capability.service;
            self.topic(&["Write", "Delete"], &service.commands());
            if !service.private {
                self.topic(&["Read"], &service.commands());
                self.topic(&["Read"], &service.events());
                self.topic(&["Read", "Write"], &service.dead_letters());
            }
            groups(capability).iter().for_each(|group| self.may(&["Describe"], "Group", false, group));
        }
        self.topic(&["Write"], &topic(Stream::Control));
        self.may(&["Write"], "TransactionalId", true, APPENDS);
    }
}

/// The groups in which a service's processes share its work.
fn groups(capability: &Capability) -> Vec<String> {
    let service = &capability.service;
    let router = (!service.routed.is_empty()).then(|| format!("{}.router", service.name));
    std::iter::once(service.name.to_owned()).chain(router).collect()
}

/// What the names of all topics begin with: the namespace alone, or where there is none each owner's name.
fn prefixes(all: &[Capability], namespace: &str) -> Vec<String> {
    if !namespace.is_empty() {
        return vec![String::new()];
    }
    let followed = all.iter().flat_map(|capability| [&capability.service.direct, &capability.service.routed]).flat_map(|reactions| inputs(reactions));
    let topics = all.iter().map(|capability| capability.service.commands()).chain(followed).chain([topic(Stream::Control)]);
    let mut prefixes: Vec<String> = vec![];
    for prefix in topics.filter_map(|topic| Some(format!("{}.", topic.as_str().rsplit_once('.')?.0))) {
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
        }
    }
    prefixes
}

/// The rights of these services and operators, those of each principal once and together.
pub fn acls(all: &[Capability], wanted: &Wanted<'_>) -> Vec<Acl> {
    let named = |names: &[String], name: &str| names.iter().any(|known| known == name);
    let mut found: Vec<Acl> = vec![];
    let mut give = |name: &str, give: &dyn Fn(&mut Rights<'_>)| {
        let mut rights = Rights { principal: wanted.principal.replace("{service}", name), namespace: wanted.namespace, acls: vec![] };
        give(&mut rights);
        found.extend(rights.acls);
    };
    for capability in all.iter().filter(|capability| wanted.services.is_empty() || named(wanted.services, capability.service.name)) {
        let name = capability.service.name;
        give(name, &|rights| {
            rights.of_process(all);
            rights.of_service(capability, all);
            if named(wanted.http, name) || named(wanted.http, "all") {
                all.iter().for_each(|other| rights.topic(&["Write"], &other.service.commands()));
            }
        });
    }
    for operator in wanted.operators {
        give(operator, &|rights| {
            rights.of_process(all);
            rights.of_operator(all);
        });
    }
    found.sort();
    found.dedup();
    found
}

/// Commands of Kafka's own tool: one for each set of operations of a principal on things of a kind. Whoever runs them says
/// where the brokers are, and signs in as administrator.
fn commands(acls: &[Acl]) -> Vec<String> {
    let mut operations: BTreeMap<(&str, &str, bool, &str), Vec<&str>> = BTreeMap::new();
    for acl in acls {
        operations.entry((&acl.principal, acl.resource, acl.prefixed, &acl.name)).or_default().push(acl.operation);
    }
    let mut names: BTreeMap<(&str, &str, bool, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for ((principal, resource, prefixed, name), operations) in operations {
        names.entry((principal, resource, prefixed, operations)).or_default().push(name);
    }
    let flag = |resource: &str| match resource {
        "Topic" => "--topic",
        "Group" => "--group",
        _ => "--transactional-id",
    };
    let command = |((principal, resource, prefixed, operations), names): ((&str, &str, bool, Vec<&str>), Vec<&str>)| {
        let operations: String = operations.iter().map(|operation| format!(" --operation {operation}")).collect();
        let names: String = names.iter().map(|name| format!(" {} '{name}'", flag(resource))).collect();
        let pattern = if prefixed { "prefixed" } else { "literal" };
        format!(
            "kafka-acls.sh --bootstrap-server \"$BROKERS\" --command-config \"$ADMIN\" --add --force --allow-principal '{principal}'{operations} \
             --resource-pattern-type {pattern}{names}"
        )
    };
    names.into_iter().map(command).collect()
}
