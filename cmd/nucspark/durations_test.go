package main

import (
	"os"
	"reflect"
	"testing"
	"time"

	"nucspark.io/nucspark/tui"
)

func TestDurationsAreRemembered(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if d := readDurations("lab"); d != nil {
		t.Errorf("a first run remembers %v", d)
	}
	want := tui.Durations{"nuc01/kubeadm/init": 14340 * time.Millisecond, "cluster/hdfs": time.Minute}
	if err := writeDurations("lab", want); err != nil {
		t.Fatal(err)
	}
	if got := readDurations("lab"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d := readDurations("other"); d != nil {
		t.Errorf("another cluster remembers %v", d)
	}
	path, err := durationsFile("lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := readDurations("lab"); d != nil {
		t.Errorf("half a file remembers %v", d)
	}
}
