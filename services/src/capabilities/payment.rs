//! Payment: one for each order, answered by the rules of its method. Reached only through orders.

use domain::payment::Payment;
use domain::policies::RequestPayment;
use eventstore::service::Service;

use super::Capability;

/// The service.
pub fn capability() -> Capability {
    Capability::of(Service::new("payment").owns::<Payment>().follows::<RequestPayment>("ordering"))
}
