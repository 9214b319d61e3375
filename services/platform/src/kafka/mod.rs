//! What an administrator of a Kafka cluster does for an application: the rights of its services, and its topics. Runs no service.

pub mod acls;
pub mod provision;
pub mod strimzi;
