package autoinstall

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is what the tools of the installer say of the disks.
type machine struct {
	disks  string            // lsblk: "PATH TYPE RO SIZE TRAN", line by line
	serial map[string]string // udevadm: ID_SERIAL by disk, without /dev/
	holds  map[string]string // wipefs, the same
	broken string            // a program that fails
}

// choose runs the script as the installer does, with its tools and its
// configuration file replaced, and returns what that file says then.
func choose(t *testing.T, d Disk, m machine) (disk, output string, err error) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range map[string]string{
		"lsblk":   "case $* in *-n*) cat disks ;; *) echo the list ;; esac",
		"udevadm": `for a; do case $a in --name=*) cat "serial-${a#--name=/dev/}" ;; esac; done`,
		"wipefs":  `[ "$1" = --no-act ] || exit 9; cat "holds-${2#/dev/}" 2>/dev/null || :`,
	} {
		if name == m.broken {
			script = "exit 1"
		}
		write(name, "#!/bin/sh\ncd "+dir+"\n"+script+"\n", 0o755)
	}
	write("disks", m.disks, 0o644)
	for disk, serial := range m.serial {
		write("serial-"+disk, "DEVNAME=/dev/"+disk+"\nID_SERIAL="+serial+"\nID_SERIAL_SHORT=none\n", 0o644)
	}
	for disk, holds := range m.holds {
		write("holds-"+disk, holds+"\n", 0o644)
	}
	o := plain()
	o.Disk = d
	user, _ := files(t, o)
	file := filepath.Join(dir, "autoinstall.yaml")
	write("autoinstall.yaml", user, 0o600)
	script := strings.Replace(read(t, user)["early-commands"].([]any)[0].(string), "config=/autoinstall.yaml\n", "config="+file+"\n", 1)
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	b, rerr := os.ReadFile(file)
	if rerr != nil {
		t.Fatal(rerr)
	}
	layout := read(t, string(b))["storage"].(map[string]any)["layout"].(map[string]any)
	return layout["match"].(map[string]any)["path"].(string), string(out), err
}

func TestChooseDisk(t *testing.T) {
	const (
		stick = "/dev/sdb disk 0 62914560000 usb\n"
		small = "/dev/nvme0n1 disk 0 500107862016 nvme\n"
		large = "/dev/sda disk 0 4000787030016 sata\n"
		twin  = "/dev/nvme1n1 disk 0 500107862016 nvme\n"
		rest  = "/dev/sr0 rom 0 2000000000 sata\n/dev/loop0 loop 1 100000000000 \n/dev/zram0 disk 0 16000000000 \n/dev/mmcblk0 disk 0 4000000000 \n/dev/sdc disk 1 500107862016 sata\n"
	)
	serials := map[string]string{"nvme0n1": "Samsung_SSD_980_500GB_S64DNF0R123456_1", "nvme1n1": "Samsung_SSD_980_500GB_S64DNF0R654321_1", "sda": "ST4000VN006_ZW60ABCD"}
	for _, tt := range []struct {
		name string
		disk Disk
		machine
		want string // the disk, "" for none
		says string
	}{
		{"the only one", Disk{By: Only}, machine{disks: rest + stick + small}, "/dev/nvme0n1", "the system goes to /dev/nvme0n1"},
		{"without a bus", Disk{By: Only}, machine{disks: "/dev/vda disk 0 21474836480 \n" + stick}, "/dev/vda", ""},
		{"not the only one", Disk{By: Only}, machine{disks: small + large}, "", "2 disks are meant by only: /dev/nvme0n1 /dev/sda. Nothing was written to any disk. The disks are:\nthe list"},
		{"none", Disk{By: Only}, machine{disks: rest + stick}, "", "no disk of 10 GB or more"},
		{"no answer", Disk{By: Largest}, machine{}, "", "no disk of 10 GB or more"},
		{"smallest", Disk{By: Smallest}, machine{disks: large + stick + small}, "/dev/nvme0n1", ""},
		{"largest", Disk{By: Largest}, machine{disks: small + large + twin}, "/dev/sda", ""},
		{"two smallest", Disk{By: Smallest}, machine{disks: small + large + twin}, "", "2 disks are meant by smallest"},
		{"two largest", Disk{By: Largest}, machine{disks: small + twin}, "", "2 disks are meant by largest"},
		{"serial", Disk{By: Serial, Serial: "S64DNF0R654321"}, machine{disks: small + large + twin, serial: serials}, "/dev/nvme1n1", ""},
		{"part of two", Disk{By: Serial, Serial: "S64DNF0R"}, machine{disks: small + large + twin, serial: serials}, "", "2 disks are meant by serial S64DNF0R"},
		{"no such serial", Disk{By: Serial, Serial: "WXYZ"}, machine{disks: small + large + twin, serial: serials}, "", "that is meant by serial WXYZ"},
		{"no pattern", Disk{By: Serial, Serial: "S64D...."}, machine{disks: small, serial: serials}, "", "that is meant by serial"},
		{"not empty", Disk{By: Only}, machine{disks: small, holds: map[string]string{"nvme0n1": "nvme0n1 0x1fe PMBR"}}, "", "nvme0n1 0x1fe PMBR\nnucspark: /dev/nvme0n1 is not empty"},
		{"may be erased", Disk{By: Only, Erase: true}, machine{disks: small, holds: map[string]string{"nvme0n1": "nvme0n1 0x1fe PMBR"}}, "/dev/nvme0n1", ""},
		{"another holds data", Disk{By: Smallest}, machine{disks: small + large, holds: map[string]string{"sda": "sda 0x438 ext4"}}, "/dev/nvme0n1", ""},
		{"nobody knows what it holds", Disk{By: Only}, machine{disks: small, broken: "wipefs"}, "", ""},
		{"to be erased, and cannot be read", Disk{By: Only, Erase: true}, machine{disks: small, broken: "wipefs"}, "", ""},
		{"no serial to be had", Disk{By: Serial, Serial: "S64DNF0R"}, machine{disks: small, broken: "udevadm"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, out, err := choose(t, tt.disk, tt.machine)
			if tt.want == "" {
				if err == nil || got != unknownDisk {
					t.Errorf("it goes to %s, error %v: %s", got, err, out)
				}
			} else if err != nil || got != tt.want {
				t.Errorf("it goes to %s, want %s, error %v: %s", got, tt.want, err, out)
			}
			if !strings.Contains(out, tt.says) {
				t.Errorf("it says %q, want %q", out, tt.says)
			}
		})
	}
}

func TestParseDisk(t *testing.T) {
	for text, want := range map[string]Disk{
		"only": {By: Only}, "smallest": {By: Smallest}, "largest": {By: Largest}, "serial=S64D-1_x": {By: Serial, Serial: "S64D-1_x"},
		"": {}, "serial": {}, "serial=": {}, "serial=abc": {}, "serial=a b c": {}, "serial=$(reboot)": {}, "serial=****": {}, "/dev/sda": {}, "Only": {},
	} {
		got, err := ParseDisk(text)
		if got != want || (err == nil) != (want != Disk{}) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}
