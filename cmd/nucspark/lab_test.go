package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C ends what lab up started and gives 130.
func TestLabInterrupted(t *testing.T) {
	dir := t.TempDir()
	begun := filepath.Join(dir, "begun")
	client := "#!/bin/sh\n: >" + begun + "\nexec sleep 600\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(client), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("XDG_STATE_HOME", dir)
	t.Setenv("XDG_CACHE_HOME", dir)
	code := make(chan int, 1)
	go func() { code <- run([]string{"lab", "up", "--dir", dir}) }()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(begun); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("docker was not called")
		}
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-code:
		if got != exitInterrupted {
			t.Errorf("exit code %d, want %d", got, exitInterrupted)
		}
	case <-deadline:
		t.Fatal("lab up goes on")
	}
}
