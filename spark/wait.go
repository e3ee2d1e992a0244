package spark

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Bounds of waiting.
const (
	startBound   = 30 * time.Minute // until the driver runs: its image may have to be fetched, or a place be waited for
	troubleBound = 2 * time.Minute  // with an image or a configuration that does not do
	lostBound    = 10 * time.Minute // without an answer of the Kubernetes API, or without a log
)

// LostError says that the application could not be followed to its end. It may
// still run.
type LostError struct {
	Pod string
	Err error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("lost sight of %s, which may still run: %v; \"nucspark logs --follow %s\" follows it", e.Pod, e.Err, e.Pod)
}

func (e *LostError) Unwrap() error { return e.Err }

// hopeless are states of a container that seldom go away by themselves.
var hopeless = map[any]bool{
	"CreateContainerConfigError": true, "CreateContainerError": true, "ErrImageNeverPull": true, "ErrImagePull": true,
	"ImageInspectError": true, "ImagePullBackOff": true, "InvalidImageName": true, "RunContainerError": true,
}

// Follow waits until the driver runs, copies its log to out until it has ended,
// and returns its exit code. Connections may drop meanwhile.
func (s *Submitter) Follow(ctx context.Context, d *Driver, out io.Writer) (code int, err error) {
	if err := s.running(ctx, d); err != nil {
		return 0, err
	}
	f := &follower{out: out}
	var dark time.Time // since when there has been no log to be had
	for {
		// What the log held when the driver had ended is all there is.
		p, err := s.look(ctx, d)
		if err != nil {
			return 0, err
		}
		ended := endOf(p)
		opened, err := s.stream(ctx, d, f, ended == nil)
		if opened {
			dark = time.Time{}
		}
		long := !dark.IsZero() && time.Since(dark) > cmp.Or(s.lost, lostBound)
		var output *outputError
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.As(err, &output):
			return 0, output
		case err == nil && ended != nil:
			s.explain(ended)
			return ended.code, nil
		case err != nil && ended != nil && (!passing(err) || long):
			s.Note(fmt.Sprintf("the end of the log is missing: %v", err))
			s.explain(ended)
			return ended.code, nil
		case err != nil && !passing(err):
			return 0, &LostError{d.Pod, err}
		case opened:
		case dark.IsZero():
			// The pod of a machine that is off goes on being called Running.
			dark = time.Now()
			s.Note(fmt.Sprintf("the log cannot be read, trying again (is the driver's machine on?): %v", err))
		case long:
			return 0, &LostError{d.Pod, err}
		}
		if err := s.pause(ctx); err != nil {
			return 0, err
		}
	}
}

// passing says that the log may be had later.
func passing(err error) bool {
	var broken *brokenError
	return errors.As(err, &broken) || kube.IsTransient(err)
}

// stream copies the log until the stream ends; opened says that there was one.
func (s *Submitter) stream(ctx context.Context, d *Driver, f *follower, follow bool) (opened bool, err error) {
	r, err := s.Cluster.Log(ctx, d.Pod, f.since(), follow)
	if err != nil {
		return false, err
	}
	defer r.Close()
	return true, f.copy(r)
}

// explain says what an exit code alone does not.
func (s *Submitter) explain(e *end) {
	switch {
	case e.reason == "OOMKilled":
		s.Note("the driver was killed because it used more memory than its pod may have; give it more with --conf spark.driver.memory=…, or collect less")
	case e.code != 0 && e.reason != "Error":
		s.Note("the driver ended: " + e.reason)
	}
}

// running waits until the driver's container has started. It says what it waits
// for, and gives up where that will not come.
func (s *Submitter) running(ctx context.Context, d *Driver) error {
	begin, said := time.Now(), ""
	var since time.Time // of the trouble
	for looks := 1; ; looks++ {
		p, err := s.look(ctx, d)
		if err != nil {
			return err
		}
		if object(p, "status")["phase"] == "Running" || endOf(p) != nil {
			return nil
		}
		why, bad := startTrouble(p)
		if looks%20 == 0 && why == "" {
			why = s.lastEvent(ctx, d)
		}
		if why != "" && why != said {
			s.Note("waiting for the driver: " + why)
			said = why
		}
		switch {
		case !bad:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > troubleBound:
			return fmt.Errorf("the driver's pod %s does not start: %s", d.Pod, why)
		}
		if time.Since(begin) > startBound {
			return fmt.Errorf("the driver's pod %s did not start within %s: %s", d.Pod, startBound, s.lastEvent(ctx, d))
		}
		if err := s.pause(ctx); err != nil {
			return err
		}
	}
}

// startTrouble says why a pod has not started, "" when that is not known yet;
// bad means that waiting will hardly help.
func startTrouble(p map[string]any) (why string, bad bool) {
	containers, _ := object(p, "status")["containerStatuses"].([]any)
	for _, c := range containers {
		c, _ := c.(map[string]any)
		if w := object(c, "state", "waiting"); hopeless[w["reason"]] {
			return fmt.Sprintf("%v: %v", w["reason"], w["message"]), true
		}
	}
	conditions, _ := object(p, "status")["conditions"].([]any)
	for _, c := range conditions {
		if c, _ := c.(map[string]any); c["type"] == "PodScheduled" && c["status"] == "False" {
			return "no machine has room for it: " + text(c["message"]), false
		}
	}
	return "", false
}

// lastEvent is what Kubernetes said last about the pod.
func (s *Submitter) lastEvent(ctx context.Context, d *Driver) string {
	events, err := s.Cluster.List(ctx, "v1", "Event", provision.Namespace, "")
	if err != nil {
		return ""
	}
	last, at := "", ""
	for _, e := range events {
		if object(e, "involvedObject")["name"] != d.Pod {
			continue
		}
		if t := text(e["lastTimestamp"]); t >= at {
			last, at = strings.TrimSpace(text(e["reason"])+": "+text(e["message"])), t
		}
	}
	return last
}

// look reads the driver's pod. It tries for a while when the API does not
// answer.
func (s *Submitter) look(ctx context.Context, d *Driver) (map[string]any, error) {
	var lost time.Time
	for {
		p, err := s.Cluster.Get(ctx, "v1", "Pod", provision.Namespace, d.Pod)
		switch {
		case err == nil && p == nil:
			return nil, fmt.Errorf("the driver's pod %s is gone: it was deleted, or its machine left", d.Pod)
		case err == nil:
			return p, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !kube.IsTransient(err):
			return nil, &LostError{d.Pod, err}
		case lost.IsZero():
			lost = time.Now()
			s.Note(fmt.Sprintf("the connection is lost, trying again (the application goes on): %v", err))
		case time.Since(lost) > cmp.Or(s.lost, lostBound):
			return nil, &LostError{d.Pod, err}
		}
		if err := s.pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (s *Submitter) pause(ctx context.Context) error {
	tick := s.tick
	if tick == 0 {
		tick = 500 * time.Millisecond
	}
	t := time.NewTimer(tick)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
