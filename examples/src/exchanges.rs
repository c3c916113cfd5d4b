//! What one log says of every exchange: how it was opened, and how it came to its one end.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
};

use trust::{Digest, ExchangeId, header::Direction};

use crate::{Error, message_log::MessageLog};

/// The exchanges of one log.
pub struct Exchanges {
    exchanges: HashMap<ExchangeId, Exchange>,
    /// How many were open when the server was killed.
    pub left_open_by_a_kill: usize,
}

/// What is recorded of one exchange.
#[derive(Default)]
pub struct Exchange {
    first_requests: usize,
    /// Whether its first request was accepted, and by which right.
    pub right: Option<u64>,
    /// Status code and digest.
    pub final_reply: Option<(Option<u32>, Digest)>,
    final_replies: usize,
    closings: usize,
}

impl Exchange {
    /// Whether it was brought to an end.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.final_replies + self.closings > 0
    }
}

impl Exchanges {
    /// Reads a log from its beginning.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or closes what it never opened.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let log = MessageLog::read(folder)?;
        let mut exchanges: HashMap<ExchangeId, Exchange> = HashMap::new();
        for message in &log.messages {
            let header = &message.header;
            let exchange = exchanges.entry(header.parties.exchange).or_default();
            match header.direction {
                Direction::Request if header.sequence == 0 => {
                    exchange.first_requests += 1;
                    exchange.right = message.annex.access_right;
                }
                Direction::Reply if header.is_final => {
                    exchange.final_replies += 1;
                    exchange.final_reply = Some((header.status_code, message.digest));
                }
                _ => {}
            }
        }
        for closing in &log.closings {
            let id =
                ExchangeId::from_slice(&closing.exchange_id).ok_or("a closing without an id")?;
            let closed = exchanges.get_mut(&id);
            let closed = closed.ok_or_else(|| format!("{id} is closed and was never open"))?;
            closed.closings += 1;
        }
        let unknown = log.closings.iter().filter(|one| one.outcome == "unknown");
        Ok(Self {
            left_open_by_a_kill: unknown.count(),
            exchanges,
        })
    }

    /// What is recorded of an exchange.
    ///
    /// # Errors
    /// When nothing is.
    pub fn of(&self, id: ExchangeId) -> Result<&Exchange, Error> {
        let found = self.exchanges.get(&id);
        found.ok_or_else(|| format!("exchange {id} is not in the log").into())
    }

    /// Every exchange was opened once and brought to one end.
    ///
    /// # Errors
    /// Of which that is not true.
    pub fn check_ends(&self) -> Result<(), Error> {
        for (id, exchange) in &self.exchanges {
            let opened = exchange.first_requests;
            let ended = exchange.final_replies + exchange.closings;
            if (opened, ended) != (1, 1) {
                return Err(format!("{id} is opened {opened} times and ends {ended} times").into());
            }
        }
        Ok(())
    }

    /// What clients were told stands in both logs: an answer as the same final reply, a refusal as
    /// an exchange that the consumer has ended.
    ///
    /// # Errors
    /// Of which that is not true.
    pub fn agree_with(
        consumer: &Self,
        provider: &Self,
        answered: &HashSet<ExchangeId>,
        refused: &HashSet<ExchangeId>,
    ) -> Result<(), Error> {
        for &id in answered {
            let (asked, answering) = (consumer.of(id)?, provider.of(id)?);
            let status = asked.final_reply.and_then(|(status, _)| status);
            if status != Some(0) || asked.final_reply != answering.final_reply {
                return Err(format!("the final replies of {id} are not one OK").into());
            }
        }
        for &id in refused {
            if !consumer.of(id)?.has_ended() {
                return Err(format!("{id} was refused and has no end").into());
            }
        }
        Ok(())
    }
}

impl fmt::Display for Exchanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed: usize = self.exchanges.values().map(|one| one.closings).sum();
        write!(
            formatter,
            "{} exchanges, {closed} closed, {} of them after a kill",
            self.exchanges.len(),
            self.left_open_by_a_kill
        )
    }
}
