//! Members, subsystems, servers, services; publishes the signed global configuration.
