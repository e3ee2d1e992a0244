package inventory

import (
	"path"
	"slices"
	"strings"
)

// closedDirs are system directories: neither they nor anything inside them may
// hold data. Names are those of the Filesystem Hierarchy Standard 3.0 and of
// what nucspark, Kubernetes and the package manager keep below /var/lib.
var closedDirs = []string{
	"/bin", "/boot", "/dev", "/efi", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32",
	"/lost+found", "/proc", "/root", "/run", "/sbin", "/snap", "/sys", "/tmp", "/usr",
	"/var/backups", "/var/cache", "/var/lock", "/var/log", "/var/mail", "/var/run",
	"/var/snap", "/var/spool", "/var/tmp",
	"/var/lib/apt", "/var/lib/cloud", "/var/lib/cni", "/var/lib/containerd", "/var/lib/dbus",
	"/var/lib/docker", "/var/lib/dpkg", "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/nfs",
	"/var/lib/nucspark", "/var/lib/snapd", "/var/lib/systemd", "/var/lib/ucf",
}

// sharedDirs may have data directories inside, but are none themselves.
var sharedDirs = []string{"/", "/media", "/mnt", "/opt", "/srv", "/var", "/var/lib", "/var/opt"}

// Where the namenode's metadata lies by default: inside /var/lib/nucspark,
// which is closed to everything else.
const (
	defaultNamenodeDir   = "/var/lib/nucspark/namenode"
	defaultCheckpointDir = "/var/lib/nucspark/checkpoint"
)

// CheckDataDir says why an inventory may not name a directory for data, nil if
// it may.
func CheckDataDir(dir string) error {
	_, err := dataDir(dir)
	return err
}

// dataDir accepts an absolute, clean directory that may hold data.
func dataDir(dir string) (string, error) {
	if !path.IsAbs(dir) {
		return "", bad("Directories are on the machines; write them from the root, for example \"/data/hdfs\".",
			"%q is not an absolute path", dir)
	}
	clean := path.Clean(dir)
	if clean != dir {
		return "", bad("Write "+quote(clean)+".", "%q is not written in its shortest form", dir)
	}
	if slices.Contains(sharedDirs, dir) {
		return "", bad("Use a directory of its own, for example \""+path.Join(dir, "hdfs")+"\".",
			"%q belongs to the system", dir)
	}
	if dir == defaultNamenodeDir || dir == defaultCheckpointDir {
		return dir, nil
	}
	for _, closed := range closedDirs {
		if within(closed, dir) {
			return "", bad("Everything in "+closed+" is left alone. Use a directory like \"/data/hdfs\" or \"/srv/nfs\", best the mount point of a disk.",
				"%q belongs to the system", dir)
		}
	}
	// exports(5) and hostPath volumes would need these escaped.
	if i := strings.IndexFunc(dir, func(r rune) bool { return !safeInPath(r) }); i >= 0 {
		return "", bad("Use letters, digits, and - _ . + only.", "%q contains a character that some of the programs that read it cannot handle", dir)
	}
	return dir, nil
}

func safeInPath(r rune) bool {
	return r == '/' || r == '-' || r == '_' || r == '.' || r == '+' ||
		'0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// within tells that dir is parent or lies inside it; both are clean.
func within(parent, dir string) bool {
	return dir == parent || strings.HasPrefix(dir, strings.TrimSuffix(parent, "/")+"/")
}
