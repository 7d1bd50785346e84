//! Tables for people, JSON lines for machines.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::{Case, Sample, Spread};

/// The measured subjects of one question.
#[derive(Debug)]
pub struct Table {
    /// The row of the bars that it belongs to.
    pub row: &'static str,
    /// What was done.
    pub title: String,
    /// The unit of the figures.
    pub unit: &'static str,
    /// The unit of the CPU time; none is printed without one.
    pub cpu: &'static str,
    /// The case that ratios are to; none are printed without one.
    pub base: &'static str,
    /// What was measured.
    pub cases: Vec<Case>,
    /// What is held against it.
    pub bars: Vec<Bar>,
    /// What a reader has to know beside it.
    pub notes: Vec<String>,
}

/// A figure that is asked for.
#[derive(Debug, Clone)]
pub struct Bar {
    /// The case that has to have it.
    pub case: &'static str,
    /// Which figure.
    pub figure: Figure,
    /// What it has to be.
    pub limit: Limit,
    /// What to aim at beyond that, if there is such a thing.
    pub goal: Option<Limit>,
}

/// Which figure a [`Bar`] is about.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// The table's own.
    Value,
    /// The same over that of a case.
    Ratio(&'static str),
    /// CPU time over that of a case.
    CpuRatio(&'static str),
    /// A further one, by the name of its column.
    Extra(&'static str),
}

/// How a figure has to be.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Limit {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(limit) => figure >= limit,
            Self::AtMost(limit) => figure <= limit,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit}"),
            Self::AtMost(limit) => format!("<= {limit}"),
        }
    }
}

impl Bar {
    /// A bar without a goal.
    pub fn new(case: &'static str, figure: Figure, limit: Limit) -> Self {
        Self { case, figure, limit, goal: None }
    }

    /// The same with a goal.
    #[must_use]
    pub fn goal(mut self, goal: Limit) -> Self {
        self.goal = Some(goal);
        self
    }
}

fn extra(sample: &Sample, name: &str) -> f64 {
    sample.extra.iter().find(|(other, _)| *other == name).map_or(f64::NAN, |(_, value)| *value)
}

impl Table {
    fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }

    fn spread(&self, bar: &Bar) -> Option<Spread> {
        let case = self.case(bar.case)?;
        Some(match bar.figure {
            Figure::Value => case.figures(|sample| sample.value),
            Figure::Ratio(base) => case.ratios(self.case(base)?, |sample| sample.value),
            Figure::CpuRatio(base) => case.ratios(self.case(base)?, |sample| sample.cpu),
            Figure::Extra(name) => case.figures(|sample| extra(sample, name)),
        })
    }

    fn extras(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (name, _) in self.cases.iter().flat_map(|case| &case.samples).flat_map(|s| &s.extra) {
            if !names.contains(name) {
                names.push(*name);
            }
        }
        names
    }

    /// Prints it.
    pub fn print(&self) {
        let rounds = self.cases.iter().map(|case| case.samples.len()).max().unwrap_or(0);
        println!("\n{}: {}; rounds in turn: {rounds}", self.row.to_uppercase(), self.title);
        let extras = self.extras();
        let mut heads = vec![String::new(), self.unit.to_owned(), "min".into(), "max".into()];
        if !self.base.is_empty() {
            heads.push(format!("x {}", self.base));
            heads.push("(min-max)".into());
        }
        if !self.cpu.is_empty() {
            heads.push(self.cpu.into());
            heads.push("x CPU".into());
        }
        heads.extend(extras.iter().map(|&name| name.to_owned()));
        let mut lines = vec![heads];
        for case in &self.cases {
            let value = case.figures(|sample| sample.value);
            let mut line = vec![case.name.clone()];
            line.extend([value.median, value.min, value.max].map(number));
            if let Some(base) = self.case(self.base) {
                let ratio = case.ratios(base, |sample| sample.value);
                line.push(number(ratio.median));
                line.push(format!("({}-{})", number(ratio.min), number(ratio.max)));
            }
            if !self.cpu.is_empty() {
                line.push(number(case.figures(|sample| sample.cpu).median));
                let base = self.case(self.base).unwrap_or(case);
                line.push(number(case.ratios(base, |sample| sample.cpu).median));
            }
            line.extend(extras.iter().map(|name| {
                let spread = case.figures(|sample| extra(sample, name));
                if spread.median.is_nan() { "-".into() } else { number(spread.median) }
            }));
            lines.push(line);
        }
        print!("{}", aligned(&lines));
        for note in &self.notes {
            println!("  {note}");
        }
        for bar in &self.bars {
            println!("  {}", self.verdict(bar));
        }
    }

    fn verdict(&self, bar: &Bar) -> String {
        let of = match bar.figure {
            Figure::Value => self.unit.to_owned(),
            Figure::Ratio(base) => format!("x {base}"),
            Figure::CpuRatio(base) => format!("x CPU of {base}"),
            Figure::Extra(name) => name.to_owned(),
        };
        let Some(spread) = self.spread(bar) else {
            return format!("bar {} {} {of}: not measured", bar.case, bar.limit.words());
        };
        let verdict = if bar.limit.holds(spread.median) { "met" } else { "missed" };
        let goal = bar.goal.map_or_else(String::new, |goal| {
            let verdict = if goal.holds(spread.median) { "met" } else { "missed" };
            format!("; goal {}: {verdict}", goal.words())
        });
        let (limit, figure) = (bar.limit.words(), number(spread.median));
        format!("bar {} {limit} {of}: {figure} {verdict}{goal}", bar.case)
    }

    /// One line for each case and each bar.
    fn json(&self) -> Vec<Value> {
        let three = |spread: Spread| json!([spread.median, spread.min, spread.max]);
        let mut lines = Vec::new();
        for case in &self.cases {
            let ratio =
                self.case(self.base).map(|base| three(case.ratios(base, |sample| sample.value)));
            let extras: serde_json::Map<_, _> = self
                .extras()
                .into_iter()
                .map(|name| (name.to_owned(), three(case.figures(|sample| extra(sample, name)))))
                .collect();
            lines.push(json!({
                "row": self.row, "table": self.title, "case": case.name, "unit": self.unit,
                "median_min_max": three(case.figures(|sample| sample.value)),
                "base": self.base, "ratio_median_min_max": ratio,
                "cpu_unit": self.cpu, "cpu_median_min_max": three(case.figures(|s| s.cpu)),
                "cpu_ratio_median_min_max":
                    self.case(self.base).map(|base| three(case.ratios(base, |s| s.cpu))),
                "rounds": case.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(),
                "extra_median_min_max": extras,
            }));
        }
        for bar in &self.bars {
            let figure = self.spread(bar);
            lines.push(json!({
                "row": self.row, "table": self.title, "bar": bar.case, "limit": bar.limit.words(),
                "of": format!("{:?}", bar.figure), "figure": figure.map(three),
                "met": figure.is_some_and(|figure| bar.limit.holds(figure.median)),
                "goal": bar.goal.map(Limit::words),
            }));
        }
        lines
    }
}

/// Four digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".into(),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Writing to a string does not fail.
            let _ = match column {
                0 => write!(text, "  {cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Report {
    arguments: Arguments,
    lines: Vec<Value>,
}

impl Report {
    /// Says what machine it is.
    pub fn new(arguments: &Arguments) -> Self {
        let machine = crate::machine::describe();
        crate::machine::print(&machine);
        Self { arguments: arguments.clone(), lines: vec![json!({ "machine": machine })] }
    }

    /// Prints a table, and keeps it for the end.
    pub fn add(&mut self, table: &Table) {
        table.print();
        self.lines.extend(table.json());
    }

    /// Prints a line, and keeps it for the end.
    pub fn say(&mut self, row: &str, line: &str) {
        println!("\n{}: {line}", row.to_uppercase());
        self.lines.push(json!({ "row": row, "says": line }));
    }

    /// Keeps a line for machines.
    pub fn keep(&mut self, line: Value) {
        self.lines.push(line);
    }

    /// Writes the JSON lines.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn finish(self) -> Result<()> {
        let mut out: Box<dyn std::io::Write> = match &self.arguments.json {
            Some(path) => Box::new(File::create(path)?),
            None => {
                println!();
                Box::new(std::io::stdout())
            }
        };
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        Ok(out.flush()?)
    }
}
