//! Keys and certificates: issue, parse, verify; rustls configurations.
