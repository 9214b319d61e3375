//! `strimzi`: topics and users as Strimzi's operators take them, made from what the application declares. Asks no broker.

use std::collections::BTreeMap;
use std::process::ExitCode;

use eventstore::kafka::declared;
use eventstore::log::PARTITIONS;

use super::acls::{Acl, Whose};
use crate::application::Application;
use crate::misuse::misused;
use crate::out;
use crate::runtime::specs;

/// Longest name of a topic, as Kafka has it.
const TOPIC_BYTES_MAX: usize = 249;

/// Of which cluster, and whose.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    whose: Whose,
    /// The Kafka resource that topics and users are of
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// Partitions of every topic: settled for life
    #[arg(long, env = "DAYBOOK_PARTITIONS", default_value_t = PARTITIONS, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    partitions: u16,
    /// Copies of each partition
    #[arg(long, env = "DAYBOOK_REPLICATION", default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    replicas: u16,
}

/// Prints them.
pub fn run(args: &Args, application: &Application) -> anyhow::Result<ExitCode> {
    let Args { whose, cluster, partitions, replicas } = args;
    if !is_name(cluster) {
        misused!("--cluster: '{}' is no name of a resource: small letters, digits, '-' and '.'", cluster.escape_debug());
    }
    let capabilities = application.services();
    // Printed when all of it is known to be right: a part of it would be taken, too.
    let mut printed = vec![];
    let mut topics = declared(&specs(&capabilities), *replicas, application.rules);
    topics.sort();
    for (topic, settings) in topics {
        let topic = format!("{}{topic}", whose.namespace());
        let settings: String = settings.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
        if topic.len() > TOPIC_BYTES_MAX || !is_name(&name_of(&topic)) {
            misused!("--namespace: '{}' makes '{topic}', which is no topic, or none that Kubernetes has a name for", whose.namespace().escape_debug());
        }
        let (name, spec) = (name_of(&topic), format!("  partitions: {partitions}\n  replicas: {replicas}\n  config:\n{settings}"));
        let named = if name == topic { String::new() } else { format!("  topicName: \"{topic}\"\n") };
        printed.push(resource("KafkaTopic", &name, cluster, &format!("{named}{spec}")));
    }
    let mut users = BTreeMap::<String, Vec<Acl>>::new();
    for acl in whose.acls(&capabilities)? {
        let Some(name) = acl.principal.strip_prefix("User:").filter(|name| is_name(name)) else {
            misused!("--principal or --operator: '{}' is no user that Strimzi can make: User:NAME, in small letters, digits, '-' and '.'", acl.principal);
        };
        users.entry(name.to_owned()).or_default().push(acl);
    }
    for (name, acls) in users {
        printed.push(resource("KafkaUser", &name, cluster, &user(&acls)));
    }
    printed.iter().for_each(|resource| out::line(resource.trim_end()));
    Ok(ExitCode::SUCCESS)
}

/// Names in quotes: YAML reads some as numbers, or as a yes or a no.
fn resource(kind: &str, name: &str, cluster: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: kafka.strimzi.io/v1\nkind: {kind}\nmetadata:\n  name: \"{name}\"\n  labels:\n    strimzi.io/cluster: \"{cluster}\"\nspec:\n{spec}"
    )
}

/// One entry for each resource, with all that is allowed of it.
fn user(acls: &[Acl]) -> String {
    let mut entries = BTreeMap::<(&str, &str, &str), Vec<&str>>::new();
    for acl in acls {
        let kind = match acl.resource {
            "Topic" => "topic",
            "Group" => "group",
            _ => "transactionalId",
        };
        entries.entry((kind, if acl.prefixed { "prefix" } else { "literal" }, &acl.name)).or_default().push(acl.operation);
    }
    let entry = |((kind, pattern, name), operations): ((&str, &str, &str), Vec<&str>)| {
        // A namespace may be nothing, and a name that begins with nothing needs its quotes.
        format!("      - resource: {{type: {kind}, name: \"{name}\", patternType: {pattern}}}\n        operations: [{}]\n", operations.join(", "))
    };
    let acls: String = entries.into_iter().map(entry).collect();
    format!("  authentication:\n    type: scram-sha-512\n  authorization:\n    type: simple\n    acls:\n{acls}")
}

/// Whether Kubernetes takes it for a resource's name.
fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        let inner = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// A resource's name for a topic, whose own may have what it cannot.
fn name_of(topic: &str) -> String {
    let name: String = topic.to_ascii_lowercase().chars().map(|char| if char == '_' { '-' } else { char }).collect();
    if is_name(&name) { name } else { format!("x{}", name.trim_matches(['-', '.'])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_name_that_kubernetes_takes() {
        for (topic, name) in [("cart.events", "cart.events"), ("Shop_1.cart.events", "shop-1.cart.events"), ("-a.cart.events", "xa.cart.events")] {
            assert_eq!(name_of(topic), name);
            assert!(is_name(name));
        }
        assert!(!is_name("Olga") && !is_name("a..b") && !is_name(""));
    }
}
