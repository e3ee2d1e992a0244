package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/spark"
	"nucspark.io/nucspark/tui"
	"nucspark.io/nucspark/watch"
)

// leastInterval keeps somebody who only looks from being a load.
const leastInterval = time.Second

// firstLook is how long is waited for all machines before something is shown
// without those that have not answered.
const firstLook = 15 * time.Second

// watchStatus shows how the cluster is until ctx ends, which is no failure: on
// a screen, or where there is no terminal, or JSON is wanted, again and again.
func watchStatus(ctx context.Context, app *App, interval time.Duration, asJSON bool) error {
	c, fleet, err := app.connected(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	onScreen := !asJSON && tui.CanWatch(app.In, app.Out)
	if onScreen {
		fmt.Fprintf(app.Err, "Connecting to %d machines\n", len(c.Nodes))
	}
	// Whoever must be asked for a passphrase or about a host key is asked
	// before the screen has the terminal.
	var nodes []*inventory.Node
	for i := range c.Nodes {
		nodes = append(nodes, &c.Nodes[i])
	}
	fleet.Connect(ctx, nodes...)
	in := app.In
	app.In = strings.NewReader("")

	watcher := newWatcher(c, fleet, interval)
	looking, stop := context.WithCancel(ctx)
	defer stop()
	go watcher.Run(looking)
	if onScreen {
		stray, err := tui.Watch(ctx, in, app.Out, watcher)
		fmt.Fprint(app.Err, stray)
		return err
	}
	return report(ctx, watcher, interval, func(s watch.State) error {
		if asJSON {
			return json.NewEncoder(app.Out).Encode(watched{s, append([]watch.Problem{}, s.Problems(s.Time)...)}) // [] where there is none
		}
		return writeWatched(app, s)
	})
}

// newWatcher watches what a cluster is made of.
func newWatcher(c *inventory.Cluster, fleet watch.Fleet, interval time.Duration) *watch.Watcher {
	return watch.New(watch.Options{Cluster: c, Fleet: fleet, Components: components, Interval: interval,
		Usage: hdfs.UsageQueries, Storage: hdfs.Storage, Compute: spark.Compute})
}

// watched is one look as scripts get it.
type watched struct {
	watch.State
	Problems []watch.Problem `json:"problems"`
}

// report hands over the state at each interval, for the first time when
// everybody has answered or failed to.
func report(ctx context.Context, w *watch.Watcher, interval time.Duration, show func(watch.State) error) error {
	select {
	case <-w.Ready():
	case <-time.After(firstLook):
	case <-ctx.Done():
		return nil
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := show(w.State()); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// writeWatched shows one look in lines, what is wrong first.
func writeWatched(app *App, s watch.State) error {
	problems := s.Problems(s.Time)
	if _, err := fmt.Fprintf(app.Out, "%s  %s\n", s.Time.Format(time.DateTime), s.Cluster); err != nil {
		return err
	}
	for _, p := range problems {
		line := fmt.Sprintf("  %s %s %s", p.Level, p.Component, p.Name)
		if !p.Since.IsZero() {
			line += " since " + p.Since.Format(time.TimeOnly)
		}
		line += ": " + p.Reason
		if len(p.With) > 0 {
			line += "; with it " + strings.Join(p.With, ", ")
		}
		fmt.Fprintln(app.Out, host.Clean(line))
	}
	var well []provision.Health
	for _, h := range s.Health {
		if h.OK {
			well = append(well, h)
		}
	}
	writeStatus(app.Out, well)
	if s.Spark != nil {
		for _, a := range s.Spark.Applications {
			is := "waits"
			if a.Runs {
				is = "runs"
			}
			fmt.Fprintf(app.Out, "  %s: %s %s, %d cores, since %s\n", host.Clean(a.Name), host.Clean(a.ID), is, a.Cores, a.Age.Round(time.Second))
		}
	}
	_, err := fmt.Fprintln(app.Out)
	return err
}

// checkInterval is the value of --interval, where it makes sense.
func checkInterval(interval time.Duration, given, watching bool) error {
	switch {
	case given && !watching:
		return &usageError{errors.New("--interval is how often --watch looks; add --watch")}
	case interval < leastInterval:
		return &usageError{fmt.Errorf("--interval %s: one look takes the machines some work; at least %s", interval, leastInterval)}
	}
	return nil
}
