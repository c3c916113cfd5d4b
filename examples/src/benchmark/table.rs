//! The results as a page to read: `results.md`.

use std::fmt::Write;

use super::{
    chain::Chain,
    figures::{Figures, Share},
    machine::Machine,
    results::Results,
};

/// The security servers, in the order of the columns.
const OURS: [Chain; 2] = [Chain::LienthongAlone, Chain::Lienthong];

/// Whom the security servers are held against, in the order of the columns.
const PROXIES: [Chain; 3] = [Chain::Nginx, Chain::Haproxy, Chain::Envoy];

/// One caller shall wait at most so many `fdatasync` and half a millisecond.
const SYNCS: f64 = 5.0;

/// The whole page.
#[must_use]
pub fn page(results: &Results) -> String {
    let mut page = String::from(
        "# Lienthong beside nginx, HAProxy and Envoy\n\n\
         Written by `./benchmark`; [README.md](README.md) says what is measured and how to repeat \
         it. The figures of every round are in [results.json](results.json).\n\n\
         ![CPU time, throughput and latency, each with Envoy as 1](results.svg)\n",
    );
    page += &ratios(results);
    page += &one_caller(results);
    for &concurrency in &results.plan.concurrency {
        page += &figures(results, concurrency);
    }
    page += &machine(results);
    page
}

fn ratios(results: &Results) -> String {
    let against: Vec<Chain> = PROXIES
        .into_iter()
        .filter(|proxy| results.plan.chains.contains(proxy))
        .collect();
    let ours = OURS.into_iter();
    let ours: Vec<_> = ours
        .filter(|chain| results.plan.chains.contains(chain))
        .collect();
    if against.is_empty() || ours.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## CPU time of both servers, as a multiple\n\n\
         Lienthong signs, verifies and logs every message on both sides; the proxies carry it. Signed \
         alone means one signature for each message; else those that wait for the log share one.\n\n\
         | calls at once | payload |",
    );
    for (chain, proxy) in pairs(&ours, &against) {
        let _ = write!(text, " {} to {} |", chain.name(), proxy.name());
    }
    let columns = pairs(&ours, &against).count();
    let _ = write!(text, "\n|---:|---:|{}\n", "---:|".repeat(columns));
    for &concurrency in &results.plan.concurrency {
        for &payload in &results.plan.payloads {
            let _ = write!(text, "| {concurrency} | {} |", bytes(payload));
            for (chain, proxy) in pairs(&ours, &against) {
                let ratio = results.ratio(chain, proxy, payload, concurrency);
                let _ = write!(text, " {} |", ratio.map_or_else(String::new, significant));
            }
            text.push('\n');
        }
    }
    text
}

fn pairs(ours: &[Chain], against: &[Chain]) -> impl Iterator<Item = (Chain, Chain)> {
    let pair = |&chain| against.iter().map(move |&proxy| (chain, proxy));
    ours.iter().flat_map(pair)
}

fn one_caller(results: &Results) -> String {
    let Some(&payload) = results.plan.payloads.first() else {
        return String::new();
    };
    let cell = results.cell(Chain::Lienthong, payload, 1);
    let Some(median) = cell.and_then(|cell| cell.median.as_ref()) else {
        return String::new();
    };
    let sync = results.machine.fdatasync_p50_us;
    format!(
        "\n## One caller\n\n\
         A call of {} waits for four records, one behind the other. Half of the calls took at most \
         {} µs; {SYNCS:.0} × `fdatasync` of this disk ({} µs, appends of 4 KiB) and 500 µs are {} µs.\n",
        bytes(payload),
        significant(median.p50_us),
        significant(sync),
        significant(SYNCS * sync + 500.0),
    )
}

fn figures(results: &Results, concurrency: usize) -> String {
    let mut text = format!(
        "\n## {}\n\n\
         | payload | chain | failed | calls/s | p50 µs | p99 µs | p99.9 µs | CPU µs a call: first | second \
         | **both** | × Envoy | backend | client | MiB first | second | bytes to disk a call |\n\
         |---:|---|{}\n",
        match concurrency {
            1 => "One call at a time".to_owned(),
            many => format!("{many} calls at once"),
        },
        "---:|".repeat(14),
    );
    for &payload in &results.plan.payloads {
        for &chain in &results.plan.chains {
            let Some(cell) = results.cell(chain, payload, concurrency) else {
                continue;
            };
            let ratio = results.ratio(chain, Chain::Envoy, payload, concurrency);
            text += &match &cell.median {
                Some(median) => row(payload, chain, median, ratio),
                None => format!("| {} | {} | all |\n", bytes(payload), chain.name()),
            };
        }
    }
    text
}

fn row(payload: usize, chain: Chain, median: &Figures, ratio: Option<f64>) -> String {
    let hop = |share: Option<Share>, figure: fn(Share) -> f64| {
        share.map_or_else(String::new, |share| significant(figure(share)))
    };
    let cells = [
        bytes(payload),
        chain.name().to_owned(),
        median.failed.to_string(),
        significant(median.requests_per_second),
        significant(median.p50_us),
        significant(median.p99_us),
        significant(median.p999_us),
        hop(median.first, |share| share.cpu_us),
        hop(median.second, |share| share.cpu_us),
        median
            .hops_cpu_us()
            .map_or_else(String::new, |both| format!("**{}**", significant(both))),
        ratio.map_or_else(String::new, significant),
        significant(median.backend.cpu_us),
        significant(median.client.cpu_us),
        hop(median.first, |share| share.resident_mib),
        hop(median.second, |share| share.resident_mib),
        median.written_bytes.map_or_else(String::new, significant),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn machine(results: &Results) -> String {
    let Machine {
        time,
        processor,
        cores,
        memory_mib,
        kernel,
        system,
        file_system,
        fdatasync_p50_us,
        fdatasync_p99_us,
        load_before,
        load_after,
        programs,
    } = &results.machine;
    let plan = &results.plan;
    format!(
        "\n## Where and when\n\n\
         {time} UTC. {processor}, {cores} cores, {memory_mib} MiB; {system}, Linux {kernel}; logs on \
         {file_system}, `fdatasync` of 4 KiB appended: p50 {} µs, p99 {} µs. \
         Load average {load_before} before and {load_after} after. {}.\n\n\
         Medians of {} rounds of {} s, each after {} s that do not count. Worker threads: {} in each \
         proxy, in backend and client; {} in each security server, beside the thread that writes its \
         log.\n",
        significant(*fdatasync_p50_us),
        significant(*fdatasync_p99_us),
        programs.join(", "),
        plan.rounds,
        plan.seconds,
        plan.warm_up_seconds,
        results.threads.others,
        results.threads.security_server,
    )
}

/// A length as a person writes it.
pub(super) fn bytes(length: usize) -> String {
    const KIBIBYTE: usize = 1024;
    const MEBIBYTE: usize = 1024 * KIBIBYTE;
    match length {
        MEBIBYTE.. if length.is_multiple_of(MEBIBYTE) => format!("{} MiB", length / MEBIBYTE),
        KIBIBYTE.. if length.is_multiple_of(KIBIBYTE) => format!("{} KiB", length / KIBIBYTE),
        _ => format!("{length} B"),
    }
}

/// A figure with three digits that say something, and no more.
pub(super) fn significant(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_largest_whole_unit() {
        assert_eq!(bytes(200), "200 B");
        assert_eq!(bytes(4096), "4 KiB");
        assert_eq!(bytes(1 << 20), "1 MiB");
        assert_eq!(bytes(1025), "1025 B");
    }
}
