"""Numbers of the four gauges of a derivative, see emdref.arguments.gauges."""

RAW, ZERO_SUM, SCALED, NORMALIZED = 0, 1, 2, 3
