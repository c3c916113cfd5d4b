//! What a simulation does, one line each: drawn by chance, written down, and read back.

use std::{fmt, str::FromStr};

use examples::dice::Dice;

/// One of the two security servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Consumer,
    Provider,
}

/// A link between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Consumer and provider.
    Servers,
    /// The provider and its adapter.
    Adapter,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Unary.
    Say,
    /// A stream that ends by itself.
    Repeat,
    /// A stream that somebody else has to end.
    Follow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Begins so many calls at once; what becomes of them is seen later.
    Call(Call, usize),
    /// Waits until the calls that end by themselves have.
    Settle,
    /// Grants the right again that the calls need, for so many seconds by the provider's clock.
    Grant(i64),
    /// Takes it away.
    Revoke,
    /// Moves a server's clock by so many seconds.
    Move(Who, i64),
    /// Lets it move by itself when it was read so often.
    Jump(Who, usize, i64),
    /// Cuts the power of a server: what it has not synced may be gone.
    Kill(Who),
    /// Asks it to stop, and waits until it has.
    Stop(Who),
    /// Starts it, if it does not run.
    Start(Who),
    /// Resets connections, and lets none be made.
    Cut(Between),
    /// Lets nothing through, and tells nobody.
    Hold(Between),
    /// Lets all through again.
    Open(Between),
    /// Leaves no room on the disk of a server.
    Fill(Who),
    /// Makes room again.
    Empty(Who),
    /// Lets the disk meet a fault after so many more calls.
    Fail(Who, usize, usize),
    /// Removes a server's views while it is down.
    DeleteViews(Who),
    /// Waits so many microseconds.
    Wait(u64),
    /// Changes a byte of a server's log, by this number, when all is over: somebody has to notice.
    Tamper(Who, usize),
}

/// How many faults a disk knows of that do not stop it.
const FAULTS: usize = 6;

impl Operation {
    /// A list of so many.
    pub fn draw(dice: &mut Dice, count: usize) -> Vec<Self> {
        let mut list = Vec::new();
        while list.len() < count {
            list.push(Self::draw_one(dice));
            // What comes next comes at any moment of what this has set going.
            list.push(Self::Wait(dice.below(20_000) as u64));
            // A server that is down is mostly wanted again soon.
            if let Some(&(Self::Kill(who) | Self::Stop(who))) = list.iter().rev().nth(1)
                && dice.below(3) > 0
            {
                list.push(Self::Start(who));
            }
        }
        list.push(Self::Tamper(draw_server(dice), dice.below(1 << 24)));
        list
    }

    fn draw_one(dice: &mut Dice) -> Self {
        let who = draw_server(dice);
        let between = [Between::Servers, Between::Servers, Between::Adapter][dice.below(3)];
        let call = [Call::Say, Call::Say, Call::Repeat, Call::Follow][dice.below(4)];
        match dice.below(50) {
            0..20 => Self::Call(call, 1 + dice.below(6)),
            20..24 => Self::Settle,
            24 => Self::Grant(1 + dice.below(900) as i64),
            25 => Self::Revoke,
            26..29 => Self::Grant(100_000),
            29 => Self::Move(who, dice.below(800) as i64 - 200),
            30 => Self::Jump(who, dice.below(40), dice.below(800) as i64 - 200),
            31..34 => Self::Kill(who),
            34 => Self::Stop(who),
            35..39 => Self::Start(who),
            39 => Self::Cut(between),
            40 => Self::Hold(between),
            41..45 => Self::Open(between),
            45 => Self::Fill(who),
            46 => Self::Empty(who),
            47..49 => Self::Fail(who, dice.below(40), dice.below(FAULTS)),
            _ => Self::DeleteViews(who),
        }
    }
}

fn draw_server(dice: &mut Dice) -> Who {
    [Who::Consumer, Who::Provider][dice.below(2)]
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call, times) => write!(formatter, "call {call} {times}"),
            Self::Settle => write!(formatter, "settle"),
            Self::Grant(seconds) => write!(formatter, "grant {seconds}"),
            Self::Revoke => write!(formatter, "revoke"),
            Self::Move(who, seconds) => write!(formatter, "move {who} {seconds}"),
            Self::Jump(who, readings, seconds) => {
                write!(formatter, "jump {who} {readings} {seconds}")
            }
            Self::Kill(who) => write!(formatter, "kill {who}"),
            Self::Stop(who) => write!(formatter, "stop {who}"),
            Self::Start(who) => write!(formatter, "start {who}"),
            Self::Cut(between) => write!(formatter, "cut {between}"),
            Self::Hold(between) => write!(formatter, "hold {between}"),
            Self::Open(between) => write!(formatter, "open {between}"),
            Self::Fill(who) => write!(formatter, "fill {who}"),
            Self::Empty(who) => write!(formatter, "empty {who}"),
            Self::Fail(who, after, fault) => write!(formatter, "fail {who} {after} {fault}"),
            Self::DeleteViews(who) => write!(formatter, "delete-views {who}"),
            Self::Wait(microseconds) => write!(formatter, "wait {microseconds}"),
            Self::Tamper(who, number) => write!(formatter, "tamper {who} {number}"),
        }
    }
}

/// A line that is no operation.
#[derive(Debug)]
pub struct NoOperation;

impl FromStr for Operation {
    type Err = NoOperation;

    fn from_str(line: &str) -> Result<Self, NoOperation> {
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: &str| word.parse::<i64>().map_err(|_| NoOperation);
        let count = |word: &str| word.parse::<usize>().map_err(|_| NoOperation);
        Ok(match words[..] {
            ["call", call, times] => Self::Call(call.parse()?, count(times)?),
            ["settle"] => Self::Settle,
            ["grant", seconds] => Self::Grant(number(seconds)?),
            ["revoke"] => Self::Revoke,
            ["move", who, seconds] => Self::Move(who.parse()?, number(seconds)?),
            ["jump", who, readings, seconds] => {
                Self::Jump(who.parse()?, count(readings)?, number(seconds)?)
            }
            ["kill", who] => Self::Kill(who.parse()?),
            ["stop", who] => Self::Stop(who.parse()?),
            ["start", who] => Self::Start(who.parse()?),
            ["cut", between] => Self::Cut(between.parse()?),
            ["hold", between] => Self::Hold(between.parse()?),
            ["open", between] => Self::Open(between.parse()?),
            ["fill", who] => Self::Fill(who.parse()?),
            ["empty", who] => Self::Empty(who.parse()?),
            ["fail", who, after, fault] => Self::Fail(who.parse()?, count(after)?, count(fault)?),
            ["delete-views", who] => Self::DeleteViews(who.parse()?),
            ["tamper", who, number] => Self::Tamper(who.parse()?, count(number)?),
            ["wait", microseconds] => Self::Wait(count(microseconds)? as u64),
            _ => return Err(NoOperation),
        })
    }
}

/// Words for values, both ways.
macro_rules! words {
    ($type:ident { $($value:ident = $word:literal),* }) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$value => $word),* })
            }
        }

        impl FromStr for $type {
            type Err = NoOperation;

            fn from_str(word: &str) -> Result<Self, NoOperation> {
                match word { $($word => Ok(Self::$value),)* _ => Err(NoOperation) }
            }
        }
    };
}

words!(Who { Consumer = "consumer", Provider = "provider" });
words!(Between { Servers = "servers", Adapter = "adapter" });
words!(Call { Say = "say", Repeat = "repeat", Follow = "follow" });

/// A list as text.
pub fn written(list: &[Operation]) -> String {
    list.iter()
        .map(|operation| format!("{operation}\n"))
        .collect()
}

/// A list from text; lines that begin with `#` are for readers.
pub fn read(text: &str) -> Result<Vec<Operation>, NoOperation> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::parse)
        .collect()
}

#[test]
fn what_is_written_is_read_back() {
    let list = Operation::draw(&mut Dice(7), 500);
    assert_eq!(read(&written(&list)).unwrap(), list);
}
