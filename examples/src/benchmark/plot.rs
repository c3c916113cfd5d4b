//! The results as a picture: `results.svg`, drawn by hand, since it is three rows of bars.

use std::fmt::Write;

use super::{
    chain::Chain,
    figures::Figures,
    results::Results,
    table::{bytes, significant},
};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 16.0;
const HEAD: f64 = 64.0;
const PANEL: f64 = 250.0;
/// Height of the bars of a panel; below them stand the payloads.
const BARS: f64 = 150.0;
const FOOT: f64 = 24.0;

/// One row of bars.
struct Panel {
    title: String,
    concurrency: usize,
    figure: fn(&Figures) -> Option<f64>,
    unit: &'static str,
}

/// The whole picture.
#[must_use]
pub fn picture(results: &Results) -> String {
    let panels = panels(results);
    let height = PANEL.mul_add(number(panels.len()), HEAD + FOOT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"17\" font-weight=\"bold\">Two hops with mutual TLS, \
         each as a multiple of Envoy</text>\n"
    );
    svg += &legend(results);
    for (position, panel) in panels.iter().enumerate() {
        svg += &drawn(results, panel, PANEL.mul_add(number(position), HEAD));
    }
    svg += "</svg>\n";
    svg
}

fn panels(results: &Results) -> Vec<Panel> {
    let concurrency = &results.plan.concurrency;
    let (least, most) = (concurrency.iter().min(), concurrency.iter().max());
    let (Some(&least), Some(&most)) = (least, most) else {
        return Vec::new();
    };
    vec![
        Panel {
            title: format!(
                "CPU time of both servers a call, {} (less is better)",
                at_once(most)
            ),
            concurrency: most,
            figure: Figures::hops_cpu_us,
            unit: "µs",
        },
        Panel {
            title: format!("Calls a second, {} (more is better)", at_once(most)),
            concurrency: most,
            figure: |figures| Some(figures.requests_per_second),
            unit: "/s",
        },
        Panel {
            title: format!("Median latency, {} (less is better)", at_once(least)),
            concurrency: least,
            figure: |figures| Some(figures.p50_us),
            unit: "µs",
        },
    ]
}

fn at_once(concurrency: usize) -> String {
    match concurrency {
        1 => "one call at a time".to_owned(),
        many => format!("{many} calls at once"),
    }
}

fn legend(results: &Results) -> String {
    let mut svg = String::new();
    for (position, chain) in hops(results).enumerate() {
        let x = number(position).mul_add(120.0, LEFT);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"40\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"50\">{}</text>",
            colour(chain),
            x + 18.0,
            chain.name(),
        );
    }
    svg
}

fn drawn(results: &Results, panel: &Panel, top: f64) -> String {
    let value = |chain, payload| {
        let cell = results.cell(chain, payload, panel.concurrency)?;
        (panel.figure)(cell.median.as_ref()?)
    };
    let ratio = |chain, payload| Some(value(chain, payload)? / value(Chain::Envoy, payload)?);
    let payloads = &results.plan.payloads;
    let highest = payloads
        .iter()
        .flat_map(|&payload| hops(results).filter_map(move |chain| ratio(chain, payload)))
        .fold(1.0, f64::max);
    let bottom = top + 40.0 + BARS;
    let y = |ratio: f64| bottom - BARS * ratio / highest;
    let mut svg = format!(
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>\n",
        top + 20.0,
        panel.title,
    );
    for (line, label) in [(0.0, "0"), (1.0, "1")] {
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#999\" {}/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            if line > 0.0 {
                "stroke-dasharray=\"4 3\""
            } else {
                ""
            },
            LEFT - 8.0,
            y(line) + 4.0,
            y = y(line),
        );
    }
    let group = (WIDTH - LEFT - RIGHT) / number(payloads.len());
    let bar = group * 0.86 / number(hops(results).count());
    for (column, &payload) in payloads.iter().enumerate() {
        let left = group.mul_add(number(column) + 0.07, LEFT);
        for (position, chain) in hops(results).enumerate() {
            let Some(ratio) = ratio(chain, payload) else {
                continue;
            };
            let (x, y) = (bar.mul_add(number(position), left), y(ratio));
            let middle = x + bar / 2.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>\
                 <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{}</text>",
                bar - 3.0,
                bottom - y,
                colour(chain),
                y - 4.0,
                significant(ratio),
            );
        }
        let reference = value(Chain::Envoy, payload).unwrap_or(f64::NAN);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}, Envoy {} {}</text>",
            group.mul_add(number(column) + 0.5, LEFT),
            bottom + 18.0,
            bytes(payload),
            significant(reference),
            panel.unit,
        );
    }
    svg
}

/// The chains with servers between client and backend.
fn hops(results: &Results) -> impl Iterator<Item = Chain> {
    let chains = results.plan.chains.iter().copied();
    chains.filter(|chain| *chain != Chain::Direct)
}

const fn colour(chain: Chain) -> &'static str {
    match chain {
        Chain::Direct => "#8c8c8c",
        Chain::Nginx => "#3d9970",
        Chain::Haproxy => "#3b7dd8",
        Chain::Envoy => "#9b7fc4",
        Chain::LienthongAlone => "#e8a87c",
        Chain::Lienthong => "#d9541e",
    }
}

#[allow(clippy::cast_precision_loss, reason = "positions in a small picture")]
const fn number(count: usize) -> f64 {
    count as f64
}
