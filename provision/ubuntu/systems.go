package ubuntu

import (
	"fmt"
	"slices"
	"strings"
)

// system is one release that is supported.
type system struct {
	id, version string // ID and VERSION_ID of os-release
	codename    string // as repositories name it
}

var systems = []system{
	{"ubuntu", "22.04", "jammy"},
	{"ubuntu", "24.04", "noble"},
	{"ubuntu", "26.04", "resolute"},
	{"debian", "12", "bookworm"},
	{"debian", "13", "trixie"},
}

// architectures are Debian's names.
var architectures = []string{"amd64", "arm64"}

// Supported says why a system is not supported, nil when it is. Arguments are
// ID and VERSION_ID of os-release, and Debian's name of the architecture.
func Supported(osID, version, arch string) error {
	if _, ok := lookup(osID, version); !ok {
		return fmt.Errorf("the system %q is not supported; install Ubuntu 22.04, 24.04 or 26.04, or Debian 12 or 13",
			strings.TrimSpace(osID+" "+version))
	}
	if !slices.Contains(architectures, arch) {
		return fmt.Errorf("the architecture %q is not supported; %s are", arch, strings.Join(architectures, " and "))
	}
	return nil
}

func lookup(osID, version string) (system, bool) {
	for _, s := range systems {
		if s.id == osID && s.version == version {
			return s, true
		}
	}
	return system{}, false
}

// Fingerprints of the keys that sign the upstream repositories: of
// pkgs.k8s.io (isv:kubernetes OBS Project) and of download.docker.com (Docker
// Release, CE deb).
const (
	kubernetesKey = "DE15B14486CD377B9E876E1A234654DA9A296436"
	dockerKey     = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
)

// pauseTag is the tag of the pause image that kubeadm of a minor version asks
// for (PauseVersion in cmd/kubeadm/app/constants). A version that is newer
// than this table gets the newest.
func pauseTag(minor string) string {
	switch minor {
	case "1.34":
		return "3.10.1"
	case "1.35":
		return "3.10.1"
	}
	return "3.10.2"
}

// minorOf is "1.36" for "1.36.3".
func minorOf(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	return parts[0] + "." + parts[1]
}
