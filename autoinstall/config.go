package autoinstall

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/provision"
)

// Options are what one machine is to be.
type Options struct {
	Name      string       // its host name
	Address   netip.Prefix // "192.168.1.14/24": the address and the size of its network
	Gateway   netip.Addr
	DNS       []netip.Addr
	MAC       string // of the network card, in lower case with colons; or
	Interface string // the card's name
	User      string
	Keys      []string // SSH public keys, each "TYPE BASE64"
	Password  string   // a hash in the form of crypt(5); "" locks the password
	Sudo      bool     // sudo asks for no password
	Disk      Disk
}

// userName is what Ubuntu's adduser takes (NAME_REGEX of adduser.conf(5)), no
// longer than useradd allows.
var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// cardName is one that the kernel takes (IFNAMSIZ) and systemd gives.
var cardName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,15}$`)

// hash has the form of crypt(5), with methods that are not broken.
var hash = regexp.MustCompile(`^\$(5|6|y|gy|2[abxy])\$[!-9;-~]+$`)

// Check says all that is wrong.
func (o Options) Check() error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	in := func(what string, a netip.Addr) {
		if !o.Address.Contains(a) {
			bad("the %s %s is not in %s, the network of %s", what, a, o.Address.Masked(), o.Name)
		} else if a == o.Address.Addr() {
			bad("the %s %s is the address of %s itself", what, a, o.Name)
		}
	}
	switch first, bits := o.Address.Masked().Addr(), o.Address.Bits(); {
	case !o.Address.Addr().Is4():
		bad("the address %s of %s is not IPv4", o.Address.Addr(), o.Name)
	case bits < 8 || bits > 30:
		bad("the network %s has no room for %s and its gateway, or is none of a home or an office", o.Address.Masked(), o.Name)
	case o.Address.Addr() == first || !o.Address.Contains(o.Address.Addr().Next()):
		bad("the address %s of %s stands for the whole network %s", o.Address.Addr(), o.Name, o.Address.Masked())
	default:
		in("gateway", o.Gateway)
	}
	if len(o.DNS) == 0 {
		bad("%s needs a name server: it installs packages", o.Name)
	}
	for _, a := range o.DNS {
		if !a.Is4() || a == o.Address.Addr() {
			bad("the name server %s is no IPv4 address of another machine", a)
		}
	}
	if (o.MAC == "") == (o.Interface == "") {
		bad("the network card of %s is named by its MAC address or by its name, one of them", o.Name)
	} else if o.MAC == "" && !cardName.MatchString(o.Interface) {
		bad("%q is no name of a network card", o.Interface)
	}
	if o.User == "root" {
		bad("the installer makes no login for root; let ssh { user } name somebody else, who may use sudo then")
	} else if !userName.MatchString(o.User) {
		bad("%q cannot be made as a user: Ubuntu takes small letters, digits, _ and -, at most 32, and begins with a letter", o.User)
	}
	if len(o.Keys) == 0 {
		bad("without an SSH key nobody could log in")
	}
	if o.Password != "" && !hash.MatchString(o.Password) {
		bad("that is no password hash; openssl passwd -6 makes one")
	}
	if o.Password == "" && !o.Sudo {
		bad("sudo asks for a password, so %s needs one: give its hash by --password-hash-file", o.User)
	}
	if o.Disk.By == Serial != (o.Disk.Serial != "") || !slices.Contains([]By{Only, Smallest, Largest, Serial}, o.Disk.By) {
		bad("no disk is named for the system")
	}
	return errors.Join(wrong...)
}

// The keys of the reference manual that are used.
type (
	config struct {
		Version  int      `json:"version"`
		Early    []string `json:"early-commands"`
		Network  network  `json:"network"`
		Storage  storage  `json:"storage"`
		Identity identity `json:"identity"`
		SSH      sshd     `json:"ssh"`
		Late     []string `json:"late-commands,omitempty"`
		Shutdown string   `json:"shutdown"`
	}
	network struct {
		Version   int                 `json:"version"`
		Ethernets map[string]ethernet `json:"ethernets"`
	}
	// ethernet is netplan's (https://netplan.readthedocs.io, "YAML configuration").
	ethernet struct {
		Match       *match      `json:"match,omitempty"`
		DHCP4       bool        `json:"dhcp4"`
		Addresses   []string    `json:"addresses"`
		Routes      []route     `json:"routes"`
		NameServers nameServers `json:"nameservers"`
	}
	match struct {
		MAC string `json:"macaddress"`
	}
	route struct {
		To  string `json:"to"`
		Via string `json:"via"`
	}
	nameServers struct {
		Addresses []string `json:"addresses"`
	}
	storage struct {
		Layout layout `json:"layout"`
		Swap   swap   `json:"swap"`
	}
	layout struct {
		Name  string    `json:"name"`
		Match diskMatch `json:"match"`
	}
	diskMatch struct {
		Path string `json:"path"`
	}
	swap struct {
		Size int `json:"size"`
	}
	identity struct {
		Hostname string `json:"hostname"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
	sshd struct {
		Install bool     `json:"install-server"`
		Keys    []string `json:"authorized-keys"`
		AllowPW bool     `json:"allow-pw"`
	}
)

// locked is no hash of any password (shadow(5)).
const locked = "!"

// Files are the files user-data and meta-data of one machine. They fail where
// Check does.
func (o Options) Files() (userData, metaData []byte, err error) {
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	card := ethernet{Addresses: []string{o.Address.String()}, Routes: []route{{"default", o.Gateway.String()}}}
	for _, a := range o.DNS {
		card.NameServers.Addresses = append(card.NameServers.Addresses, a.String())
	}
	id := o.Interface
	if o.MAC != "" {
		id, card.Match = "lan", &match{o.MAC}
	}
	c := config{
		Version: 1,
		Early:   []string{o.Disk.script()},
		Network: network{2, map[string]ethernet{id: card}},
		// Kubernetes wants no swap, so no file is made for it.
		Storage:  storage{Layout: layout{"direct", diskMatch{unknownDisk}}},
		Identity: identity{o.Name, o.User, o.Password},
		SSH:      sshd{Install: true, Keys: o.Keys},
		Shutdown: "poweroff",
	}
	if o.Password == "" {
		c.Identity.Password = locked
	}
	if o.Sudo {
		// A file of sudoers.d is read if its name has no dot (sudoers(5)).
		c.Late = []string{"echo " + provision.Quote(o.User+" ALL=(ALL) NOPASSWD:ALL") + " | install -m 0440 /dev/stdin /target/etc/sudoers.d/nucspark"}
	}
	body, err := yaml.Marshal(map[string]config{"autoinstall": c})
	if err != nil {
		return nil, nil, err
	}
	metaData, err = yaml.Marshal(map[string]string{"instance-id": "nucspark-" + o.Name, "local-hostname": o.Name})
	return append([]byte("#cloud-config\n# Written by nucspark image: Ubuntu Server installs itself by it.\n"), body...), metaData, err
}
