package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"nucspark.io/nucspark/tui"
)

// durationsFile is where it is remembered how long the steps of a cluster took,
// in seconds by ID. Only the forecast of the progress screen is made from it,
// and what a shell proposes for --remove.
func durationsFile(cluster string) (string, error) {
	dir, err := stateDir()
	return filepath.Join(dir, "durations", cluster+".json"), err
}

// readDurations returns none where none can be read: a run without a forecast
// is as good.
func readDurations(cluster string) tui.Durations {
	path, err := durationsFile(cluster)
	if err != nil {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var seconds map[string]float64
	if json.Unmarshal(data, &seconds) != nil {
		return nil
	}
	d := tui.Durations{}
	for id, s := range seconds {
		d[id] = time.Duration(s * float64(time.Second))
	}
	return d
}

// writeDurations replaces the file as a whole: two runs at a time, of which one
// waits for the lock of the other, must not leave half of it.
func writeDurations(cluster string, d tui.Durations) error {
	path, err := durationsFile(cluster)
	if err != nil {
		return err
	}
	seconds := map[string]float64{}
	for id, took := range d {
		seconds[id] = took.Round(time.Millisecond).Seconds()
	}
	data, err := json.MarshalIndent(seconds, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), cluster+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(append(data, '\n')); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
