//! A whole federation on one machine: the demonstration and the home of the system tests.
