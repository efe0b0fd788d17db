//! Line plots as SVG.

use plotters::{coord::Shift, prelude::*};

const SIZE: (u32, u32) = (860, 300);
/// Distinct for people who see colours differently (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// A named line.
pub struct Line<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, f64)>,
}

/// What the axes say.
pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
    /// Writes a value of the x axis; an empty text leaves its label out.
    pub x_label: &'a dyn Fn(f64) -> String,
    /// About so many labels.
    pub x_labels: usize,
}

/// An SVG element; `None` where no line has a point.
pub fn lines(axes: &Axes<'_>, lines: &[Line<'_>]) -> Option<String> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let finite = points().all(|(x, y)| x.is_finite() && y.is_finite());
    if points().next().is_none() || !finite {
        return None;
    }
    let (x_min, x_max) = points().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| (low.min(x), high.max(x)));
    let y_max = points().fold(0.0, |high: f64, (_, y)| high.max(y));
    let x_max = if x_max > x_min { x_max } else { x_min + 1.0 };
    let y_max = if y_max > 0.0 { y_max * 1.08 } else { 1.0 };
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let drawn = draw(&root, axes, lines, x_min..x_max, 0.0..y_max);
    drop(root);
    // Drawing into a string has no way to fail; if it ever does, the report says so where the plot was.
    drawn.ok().map(|()| svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawingError = DrawingAreaErrorKind<std::io::Error>;

fn draw(
    root: &Area<'_>,
    axes: &Axes<'_>,
    lines: &[Line<'_>],
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
) -> Result<(), DrawingError> {
    let mut chart = ChartBuilder::on(root)
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(70)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_labels(axes.x_labels)
        .y_labels(6)
        .x_label_formatter(&|x| (axes.x_label)(*x))
        .y_label_formatter(&|y| short(*y))
        .bold_line_style(RGBColor(222, 222, 222))
        .light_line_style(TRANSPARENT)
        .axis_style(RGBColor(120, 120, 120))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
    }
    root.present()
}

/// The colour of line `at`, as CSS has it.
pub fn colour(at: usize) -> String {
    let RGBColor(red, green, blue) = COLOURS[at % COLOURS.len()];
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// At most four digits: `1.5k`, `20M`, `0.25`.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if scaled.abs() >= 100.0 || scaled == scaled.round() { 0 } else { 2 };
    let text = format!("{scaled:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_in_its_colour() {
        let axes = Axes { x: "time (s)", y: "ms", x_label: &|x| short(x), x_labels: 5 };
        let line = |name, y: f64| Line { name, points: vec![(0.0, y), (5.0, 40.0)] };
        let svg = lines(&axes, &[line("p50", 3.0), line("p99", 17.0)]).unwrap();
        for text in [&colour(0), &colour(1), "time (s)", "viewBox"] {
            assert_eq!(svg.matches(text).count(), 1, "{text}: {svg}");
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let axes = Axes { x: "", y: "", x_label: &|x| short(x), x_labels: 5 };
        assert!(lines(&axes, &[]).is_none());
        assert!(lines(&axes, &[Line { name: "a", points: Vec::new() }]).is_none());
        assert!(lines(&axes, &[Line { name: "a", points: vec![(f64::NAN, 1.0)] }]).is_none());
        assert!(
            lines(&axes, &[Line { name: "a", points: vec![(1.0, 0.0)] }]).is_some(),
            "a single point is a plot"
        );
    }

    #[test]
    fn numbers_stay_short() {
        let short: Vec<String> = [0.0, 0.25, 7.5, 120.4, 20_000.0, 2.5e6].into_iter().map(short).collect();
        assert_eq!(short, ["0", "0.25", "7.5", "120", "20k", "2.5M"]);
    }
}
