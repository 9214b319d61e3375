//! Who may do what, said once more and by hand: what the generated ACLs are held against.

/// A service, whose events it follows besides its own, and whether it has a router.
pub const SERVICES: [(&str, &[&str], bool); 13] = [
    ("catalog", &["reviews"], true),
    ("customer", &[], false),
    ("cart", &["catalog", "ordering"], true),
    ("stock", &["catalog", "ordering"], true),
    ("ordering", &["cart", "payment", "shipment", "stock"], true),
    ("payment", &["ordering"], false),
    ("shipment", &["ordering"], true),
    ("seller", &["ordering"], true),
    ("reviews", &["ordering"], false),
    ("identity", &[], true),
    ("credentials", &[], false),
    ("audit", &[], false),
    ("erasure", &[], false),
];
/// Their names.
pub const ALL: [&str; SERVICES.len()] = {
    let (mut names, mut at) = ([""; SERVICES.len()], 0);
    while at < names.len() {
        names[at] = SERVICES[at].0;
        at += 1;
    }
    names
};
/// An operator who is no service.
pub const OPERATOR: &str = "olga";
/// The service that takes commands for all others.
pub const INGRESS: &str = "seller";
/// A user without any right.
pub const NOBODY: &str = "nobody";
/// The service whose records nobody else reads.
const PRIVATE: &str = "credentials";

pub const OPERATIONS: [&str; 6] = ["Read", "Write", "Describe", "DescribeConfigs", "Delete", "Alter"];

/// Every topic, without the namespace.
pub fn topics() -> Vec<String> {
    let of_services = SERVICES.iter().flat_map(|(service, ..)| ["commands", "events", "commands.dlt"].map(|kind| format!("{service}.{kind}")));
    of_services.chain(["control", "claims", "replies"].map(|kind| format!("daybook.{kind}"))).collect()
}

/// Every group, without the namespace.
pub fn groups() -> Vec<String> {
    let routers = SERVICES.iter().filter(|(.., routes)| *routes).map(|(service, ..)| format!("{service}.router"));
    let services = SERVICES.iter().map(|(service, ..)| (*service).to_owned());
    services.chain(routers).chain(["probe", "scan", "tail"].map(str::to_owned)).collect()
}

/// A transactional id of each service, and of whoever appends outside one.
pub fn transactional_ids() -> Vec<String> {
    SERVICES.iter().map(|(service, ..)| format!("{service}.worker.0")).chain(["append.0".to_owned()]).collect()
}

pub fn on_topic(user: &str, operation: &str, topic: &str) -> bool {
    if user == NOBODY {
        return false;
    }
    let (owner, kind) = topic.split_once('.').unwrap();
    let (operates, own) = (user == OPERATOR, user == owner);
    let follows = || SERVICES.iter().any(|(service, followed, _)| *service == user && followed.contains(&owner));
    match (operation, owner, kind) {
        ("Describe" | "DescribeConfigs", ..) => true,
        ("Read", "daybook", _) => true,
        ("Read", "identity" | "erasure", "events") => true,
        ("Read", ..) if user == "erasure" && owner != PRIVATE => true,
        ("Read", _, "events") => own || follows() || (operates && owner != PRIVATE),
        ("Read", ..) => own || (operates && owner != PRIVATE),
        ("Write", "daybook", "control") => operates,
        ("Write", "daybook", _) => true,
        ("Write", "audit", "commands") => true,
        ("Write", "credentials", "commands") if user == "identity" => true,
        ("Write", "identity", "commands") if user == "credentials" || user == "erasure" => true,
        ("Write", _, "commands") => own || operates || user == INGRESS,
        ("Write", _, "events") => own,
        ("Write", ..) => own || (operates && owner != PRIVATE),
        ("Delete", _, "commands") => operates,
        _ => false,
    }
}

pub fn on_group(user: &str, operation: &str, group: &str) -> bool {
    let own = group.strip_suffix(".router").unwrap_or(group) == user;
    match operation {
        _ if user == NOBODY => false,
        "Describe" => own || user == OPERATOR || ["probe", "scan", "tail"].contains(&group),
        _ => own,
    }
}

pub fn on_transactional_id(user: &str, id: &str) -> bool {
    let owner = id.split('.').next().unwrap();
    user == owner || (user == OPERATOR && owner == "append")
}
