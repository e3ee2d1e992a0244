package main

import (
	"fmt"
	"slices"
	"time"
)

// Side is one of the two commands of a line.
type Side struct {
	Name    string    // for the table
	Command string    // for a person who wants to do the same
	Seconds []float64 // of each run, in the order of the pairs
}

// Line is one comparison.
type Line struct {
	ID, Title string
	Stage     string // by which it is measured again: make bench LINES=STAGE
	A, B      Side
	Inverse   bool    // the ratio is B/A: how many times faster A is
	Limit     float64 // of the ratio; 0 when there is none
	AtLeast   bool    // the limit is a least one, else a most
	Notes     []string
	When      time.Time
	Machine   string
}

// pairs runs both commands n times, in alternating order.
func (l *Line) pairs(n int, a, b func() (time.Duration, error)) error {
	l.A.Seconds, l.B.Seconds = nil, nil
	for i := range n {
		both := []struct {
			side *Side
			run  func() (time.Duration, error)
		}{{&l.A, a}, {&l.B, b}}
		// The last pair ends with A: what nucspark made is what the next line
		// finds.
		if (n-i)%2 == 1 {
			slices.Reverse(both)
		}
		for _, s := range both {
			took, err := s.run()
			if err != nil {
				return fmt.Errorf("%s, pair %d, %s: %w", l.ID, i+1, s.side.Name, err)
			}
			s.side.Seconds = append(s.side.Seconds, took.Seconds())
			fmt.Printf("  %-6s pair %d  %-24s %7.2f s\n", l.ID, i+1, s.side.Name, took.Seconds())
		}
	}
	return nil
}

// median is the middle of the values, or the mean of the two in the middle.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Ratio is that of the medians.
func (l *Line) Ratio() float64 {
	if l.Inverse {
		return median(l.B.Seconds) / median(l.A.Seconds)
	}
	return median(l.A.Seconds) / median(l.B.Seconds)
}

// Spread is the least and the greatest ratio of a single pair.
func (l *Line) Spread() string {
	var all []float64
	for i := range l.A.Seconds {
		r := l.A.Seconds[i] / l.B.Seconds[i]
		if l.Inverse {
			r = 1 / r
		}
		all = append(all, r)
	}
	return fmt.Sprintf("%.2f to %.2f", slices.Min(all), slices.Max(all))
}

// Verdict compares the ratio with its limit.
func (l *Line) Verdict() string {
	switch {
	case l.Limit == 0:
		return "no limit set"
	case l.AtLeast && l.Ratio() >= l.Limit:
		return fmt.Sprintf("at least %g: met", l.Limit)
	case l.AtLeast:
		return fmt.Sprintf("at least %g: **missed**", l.Limit)
	case l.Ratio() <= l.Limit:
		return fmt.Sprintf("at most %g: met", l.Limit)
	}
	return fmt.Sprintf("at most %g: **missed**", l.Limit)
}

// Describe is a side's median, least and greatest time.
func (s Side) Describe() string {
	return fmt.Sprintf("%.2f s (%.2f to %.2f)", median(s.Seconds), slices.Min(s.Seconds), slices.Max(s.Seconds))
}
