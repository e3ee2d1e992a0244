package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nucspark.io/nucspark/lab/mirror"
)

// enginePackages are what a machine needs to run a lab, by the names of
// Debian and Ubuntu.
var enginePackages = []string{"docker.io", "containerd", "runc", "iptables", "iproute2"} // mirror.BuildPackages has mmdebstrap

// EngineError says why no container engine can be used and how to get one.
type EngineError struct {
	Reason string
	Hint   string
}

func (e *EngineError) Error() string { return e.Reason + "; " + e.Hint }

// engineRunning asks the engine for its version.
func engineRunning(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return &EngineError{"no container engine is installed: docker is not on the path", startHint}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := docker(ctx, nil, "version", "--format", "{{.Server.Version}}")
	switch {
	case err == nil:
		return nil
	case saidBy(err, "permission denied"):
		return &EngineError{"the container engine does not let this user in",
			"add yourself to its group with `sudo usermod -aG docker $USER` and log in again"}
	case errors.Is(err, context.DeadlineExceeded):
		return &EngineError{"the container engine does not answer",
			"look at its log (`journalctl -u docker`) and restart it"}
	}
	return &EngineError{"no container engine is running", startHint}
}

const startHint = "`nucspark lab up --start-engine` as root installs and starts Docker on Debian and Ubuntu " +
	"(packages docker.io and mmdebstrap); on other systems install Docker and start it"

// engineState is what StartEngine leaves in the cache directory, so that
// StopEngine stops the engine that the lab started and no other.
type engineState struct {
	PID     int    `json:"pid,omitempty"`     // of dockerd
	Started string `json:"started,omitempty"` // start time of that process in clock ticks since boot
	Unit    bool   `json:"unit,omitempty"`    // started through systemd
}

// StartEngine makes a container engine run: nothing to do when one answers,
// else the packages are installed with apt and the daemon is started, through
// systemd where that runs and detached where not. Its log and process id go to
// the cache directory. It needs root.
func StartEngine(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	need := slices.Concat(enginePackages, mirror.BuildPackages)
	if o.Backend == VMs {
		for _, t := range vmTools {
			if !slices.Contains(need, t.pkg) {
				need = append(need, t.pkg)
			}
		}
	}
	missing := missingPackages(ctx, need)
	running := engineRunning(ctx)
	if running == nil && len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		if running != nil {
			return &EngineError{"a container engine can be installed and started by root only", "run the command with sudo"}
		}
		return fmt.Errorf("these packages are missing: install them with `sudo apt-get install %s`", strings.Join(missing, " "))
	}
	if len(missing) > 0 {
		if err := installPackages(ctx, o, missing); err != nil {
			return err
		}
		if running != nil && engineRunning(ctx) == nil { // the package started it
			return writeJSON(o.engineFile(), engineState{Unit: true})
		}
	}
	if running == nil {
		return nil
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		o.say("starting the container engine: systemctl start docker")
		if out, err := exec.CommandContext(ctx, "systemctl", "start", "docker").CombinedOutput(); err != nil {
			return fmt.Errorf("starting the container engine: %s", lastLine(out, err))
		}
		return writeJSON(o.engineFile(), engineState{Unit: true})
	}
	return startDetached(ctx, o)
}

// missingPackages asks dpkg which of the needed are not installed; where there
// is no dpkg nothing counts as missing.
func missingPackages(ctx context.Context, need []string) []string {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return nil
	}
	var missing []string
	for _, p := range need {
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f=${db:Status-Status}", p).Output()
		if err == nil && string(out) == "installed" {
			continue
		}
		// Docker's own packages, and others that bring it, do what these do.
		if p == "docker.io" || p == "containerd" || p == "runc" {
			if _, err := exec.LookPath("dockerd"); err == nil || engineRunning(ctx) == nil {
				continue
			}
		}
		missing = append(missing, p)
	}
	return missing
}

func installPackages(ctx context.Context, o Options, packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return &EngineError{"this system has no apt", "install Docker by its own instructions and start it"}
	}
	o.say("installing %s", strings.Join(packages, " "))
	for _, args := range [][]string{
		{"-qq", "-o", "DPkg::Lock::Timeout=300", "update"},
		append([]string{"-qq", "-y", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=300", "install"}, packages...),
	} {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
		gentle(cmd)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			return fmt.Errorf("apt-get %s: %s", args[len(args)-1], lastLine(out, err))
		}
	}
	return nil
}

// gentle lets a program end by itself when its context does: mmdebstrap has
// mounts to take off, dpkg a package to finish.
func gentle(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
}

// startDetached starts dockerd in a session of its own, so that it outlives
// this command, and waits until it answers.
func startDetached(ctx context.Context, o Options) error {
	// A killed engine leaves its pid file. When the number meanwhile belongs
	// to some other process, dockerd takes that for itself and refuses.
	for file, name := range map[string]string{"/run/docker.pid": "dockerd", "/run/docker/containerd/containerd.pid": "containerd"} {
		if b, err := os.ReadFile(file); err == nil {
			pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
			if comm, _ := processNow(pid); comm != name {
				os.Remove(file)
			}
		}
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return err
	}
	logName := filepath.Join(o.Cache, "dockerd.log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	o.say("starting the container engine, log in %s", logName)
	cmd := exec.Command("dockerd")
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the container engine: %w", err)
	}
	_, started := processNow(cmd.Process.Pid)
	if err := writeJSON(o.engineFile(), engineState{PID: cmd.Process.Pid, Started: started}); err != nil {
		return err
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // some 5 s where nothing else runs
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-died:
			os.Remove(o.engineFile())
			return fmt.Errorf("the container engine ended at once (%v): read %s", err, logName)
		case <-ctx.Done():
			return fmt.Errorf("the container engine did not answer in time: read %s", logName)
		case <-tick.C:
			if engineRunning(ctx) == nil {
				return nil
			}
		}
	}
}

// StopEngine stops the container engine if StartEngine started it. It reports
// whether there was one to stop.
func StopEngine(ctx context.Context, o Options) (bool, error) {
	o, err := o.withDefaults()
	if err != nil {
		return false, err
	}
	var st engineState
	b, err := os.ReadFile(o.engineFile())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return false, fmt.Errorf("%s: %w", o.engineFile(), err)
	}
	if st.Unit {
		if out, err := exec.CommandContext(ctx, "systemctl", "stop", "docker.socket", "docker.service").CombinedOutput(); err != nil {
			return false, fmt.Errorf("stopping the container engine: %s", lastLine(out, err))
		}
		return true, os.Remove(o.engineFile())
	}
	comm, started := processNow(st.PID)
	if comm != "dockerd" || started != st.Started { // it ended by itself
		return false, os.Remove(o.engineFile())
	}
	if err := syscall.Kill(st.PID, syscall.SIGTERM); err != nil {
		return false, fmt.Errorf("stopping the container engine: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("the container engine, process %d, has not ended after a minute", st.PID)
		case <-tick.C:
			if comm, now := processNow(st.PID); comm != "dockerd" || now != st.Started {
				return true, os.Remove(o.engineFile())
			}
		}
	}
}

// processNow returns the name of a process and the time it started, in clock
// ticks since boot; both are "" when there is no such process, or only what a
// parent that did not wait has left of it. Fields as in proc_pid_stat(5).
func processNow(pid int) (comm, started string) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if err != nil || open < 0 || end < open {
		return "", ""
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 || f[0] == "Z" {
		return "", ""
	}
	return string(b[open+1 : end]), f[19]
}

func lastLine(out []byte, err error) string {
	s := strings.TrimSpace(string(out))
	if s == "" {
		return err.Error()
	}
	return s[strings.LastIndexByte(s, '\n')+1:]
}
