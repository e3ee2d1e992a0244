package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/tui"
)

// durationsFile is where it is remembered how long the steps of a cluster took,
// in seconds by ID. Only the forecast of the progress screen is made from it.
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

// plainWord is what no shell reads as anything but itself.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// sshCommand is what leads to a node of a cluster in a shell, with the host
// key that was pinned; to the control plane for "". It is "" for a node that is
// not in the file.
func sshCommand(c *inventory.Cluster, node string) string {
	n, ok := c.Node(node)
	if node == "" {
		n, ok = c.ControlPlane(), true
	}
	if !ok {
		return ""
	}
	words := []string{"ssh"}
	if c.SSH.PrivateKey != "" {
		words = append(words, "-i", c.SSH.PrivateKey)
	}
	if n.Port != 22 {
		words = append(words, "-p", strconv.Itoa(n.Port))
	}
	if known, err := knownHosts(c); err == nil && n.HostKey == "" {
		if strings.Contains(known, " ") {
			known = `"` + known + `"` // ssh splits it once more (ssh_config(5))
		}
		words = append(words, "-o", "UserKnownHostsFile="+known)
	}
	words = append(words, c.SSH.User+"@"+n.Address.String())
	for i, w := range words {
		if !plainWord.MatchString(w) {
			words[i] = provision.Quote(w)
		}
	}
	return strings.Join(words, " ")
}
