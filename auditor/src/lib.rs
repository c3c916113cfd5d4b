//! Offline checks of message logs and evidence containers.
