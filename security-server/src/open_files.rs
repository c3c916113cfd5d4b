//! How many files and connections this process may have open: enough for all that it accepts.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Settings;

/// What is open beside the connections of the listeners: segments, views, and the connections to
/// other servers and to adapters.
const BESIDE: u64 = 1024;

/// Raises the limit of the process as far as it may, if it has to be raised.
///
/// # Errors
/// In words, when more is needed than the system allows: a flood of connections could then stop
/// the log from beginning its next segment.
pub(crate) fn make_room(settings: &Settings) -> Result<(), String> {
    let clients = &settings.clients;
    let listeners = 1 + usize::from(clients.tls.is_some()) + clients.plaintext.len();
    let connections = (listeners * settings.limits.connections) as u64;
    let needed = connections.saturating_add(BESIDE);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        let allowed = limit.maximum.unwrap_or_default();
        return Err(format!(
            "{listeners} listeners of {} connections need {needed} open files, and this process \
             may have {allowed}: raise its limit (ulimit -n, LimitNOFILE) or lower [limits] \
             connections",
            settings.limits.connections
        ));
    }
    let raised = Rlimit {
        current: Some(needed),
        ..limit
    };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("the limit of open files cannot be raised to {needed}: {error}"))
}
