package autoinstall

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/golden"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBO5tSOK9ePUxrcX3m6ZMVwUb2ViznG4yQMlEv5iMfDS"

// plain is a machine as most people want it.
func plain() Options {
	return Options{
		Name: "nuc04", Address: netip.MustParsePrefix("192.168.1.14/24"), Gateway: netip.MustParseAddr("192.168.1.1"),
		DNS: []netip.Addr{netip.MustParseAddr("192.168.1.1")}, MAC: "1c:69:7a:01:02:03",
		User: "ubuntu", Keys: []string{key}, Sudo: true, Disk: Disk{By: Only},
	}
}

// other has what plain leaves out.
func other() Options {
	o := plain()
	o.Name, o.MAC, o.Interface = "on", "", "enp3s0"
	o.DNS = append(o.DNS, netip.MustParseAddr("9.9.9.9"))
	o.Keys = append(o.Keys, strings.Replace(key, "IBO5", "IBO6", 1))
	o.Password, o.Sudo = "$6$wdAcoXrU039hKYPd$508Qvbe7ObUnxoj15DRCkzC3qO7edjH0VV7BPNRDYK4QR8ofJaEEF2heacn0QgD", false
	o.Disk = Disk{By: Serial, Serial: "S64DNF0R", Erase: true}
	return o
}

func files(t *testing.T, o Options) (userData, metaData string) {
	t.Helper()
	user, meta, err := o.Files()
	if err != nil {
		t.Fatal(err)
	}
	return string(user), string(meta)
}

func TestFiles(t *testing.T) {
	for name, o := range map[string]Options{"plain": plain(), "other": other()} {
		user, meta := files(t, o)
		golden.Check(t, filepath.Join(name, "user-data"), user)
		golden.Check(t, filepath.Join(name, "meta-data"), meta)
		if !strings.HasPrefix(user, "#cloud-config\n") {
			t.Errorf("%s: cloud-init knows the file by its first line", name)
		}
	}
}

// read is what is below autoinstall, which must be all there is.
func read(t *testing.T, userData string) map[string]any {
	t.Helper()
	var doc map[string]map[string]any
	if err := yaml.UnmarshalStrict([]byte(userData), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc) != 1 || doc["autoinstall"] == nil {
		t.Fatalf("the file has the keys %v", doc)
	}
	return doc["autoinstall"]
}

// validator reads a JSON schema; the result says what is wrong with a document.
func validator(t *testing.T, file string) func(map[string]any) error {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var schema spec.Schema
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	v := validate.NewSchemaValidator(&schema, nil, "autoinstall", strfmt.Default)
	return func(doc map[string]any) error { return v.Validate(doc).AsError() }
}

func TestSchema(t *testing.T) {
	check := validator(t, "testdata/schema.json")
	for _, o := range []Options{plain(), other()} {
		user, _ := files(t, o)
		if err := check(read(t, user)); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
	}
	// The schema finds what is wrong.
	at := func(doc map[string]any, names ...string) map[string]any {
		for _, n := range names {
			doc = doc[n].(map[string]any)
		}
		return doc
	}
	for what, spoil := range map[string]func(map[string]any){
		"another version":      func(doc map[string]any) { doc["version"] = 2 },
		"no user":              func(doc map[string]any) { delete(at(doc, "identity"), "username") },
		"a number as password": func(doc map[string]any) { at(doc, "identity")["password"] = 7 },
		"a mistyped key":       func(doc map[string]any) { doc["late_commands"] = doc["late-commands"] },
		"any disk":             func(doc map[string]any) { delete(at(doc, "storage", "layout"), "match") },
		"an unknown layout":    func(doc map[string]any) { at(doc, "storage", "layout")["name"] = "whole" },
		"a MAC as a number":    func(doc map[string]any) { at(doc, "network", "ethernets", "lan", "match")["macaddress"] = 1 },
		"no size of network":   func(doc map[string]any) { at(doc, "network", "ethernets", "lan")["addresses"] = []any{"192.168.1.14"} },
	} {
		user, _ := files(t, plain())
		doc := read(t, user)
		spoil(doc)
		if check(doc) == nil {
			t.Errorf("%s is not found", what)
		}
	}
}

// TestPublishedSchema is for whoever has Canonical's own file
// (autoinstall-schema.json of github.com/canonical/subiquity), which cannot be
// part of this project.
func TestPublishedSchema(t *testing.T) {
	file := os.Getenv("NUCSPARK_AUTOINSTALL_SCHEMA")
	if file == "" {
		t.Skip("NUCSPARK_AUTOINSTALL_SCHEMA names no autoinstall-schema.json of canonical/subiquity")
	}
	check := validator(t, file)
	for _, o := range []Options{plain(), other()} {
		user, _ := files(t, o)
		if err := check(read(t, user)); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
	}
	user, _ := files(t, plain())
	doc := read(t, user)
	delete(doc["identity"].(map[string]any), "hostname")
	if check(doc) == nil {
		t.Error("the schema takes an identity without a host name: is it the right file?")
	}
}

// TestHostile: whatever a value is, it comes out as it went in, also where YAML
// would read it as something else.
func TestHostile(t *testing.T) {
	for _, s := range []string{
		"on", "no", "null", "~", "123", "0x1f", "1e3", "12:30:45", "- x", "a: b", "#", "'", `"`, "a'b\"c", "x\nversion: 2", "x\n---\ny", "%YAML", "@a", "`a`", "{a", "[a", "&a", "*a", "!a", "|", ">",
		"\\", "tab\there", "\u0007bell", "\u00e4\u2028", " x ", "",
	} {
		o := plain()
		o.Name, o.Keys, o.MAC = s, []string{s, key}, ""
		o.Interface = "en0"
		user, meta := files(t, o)
		doc := read(t, user)
		if got := doc["identity"].(map[string]any)["hostname"]; got != s {
			t.Errorf("the name %q came out as %v", s, got)
		}
		if diff := cmp.Diff([]any{s, key}, doc["ssh"].(map[string]any)["authorized-keys"]); diff != "" {
			t.Errorf("the key %q (-want +got):\n%s", s, diff)
		}
		var m map[string]any
		if err := yaml.UnmarshalStrict([]byte(meta), &m); err != nil || len(m) != 2 || m["local-hostname"] != s {
			t.Errorf("the name %q came out as %v in meta-data, %v", s, m, err)
		}
	}
	// A MAC address may look like a number to the base of 60.
	o := plain()
	o.MAC = "10:20:30:40:50:05"
	if user, _ := files(t, o); !strings.Contains(user, `macaddress: "10:20:30:40:50:05"`) {
		t.Errorf("YAML 1.1 reads a number:\n%s", user)
	}
}

func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"":                                      func(*Options) {},
		"192.168.2.1 is not in 192.168.1.0/24":  func(o *Options) { o.Gateway = netip.MustParseAddr("192.168.2.1") },
		"is the address of nuc04 itself":        func(o *Options) { o.Gateway = o.Address.Addr() },
		"stands for the whole network":          func(o *Options) { o.Address = netip.MustParsePrefix("192.168.1.255/24") },
		"192.168.1.0 of nuc04 stands for":       func(o *Options) { o.Address = netip.MustParsePrefix("192.168.1.0/24") },
		"is not IPv4":                           func(o *Options) { o.Address = netip.MustParsePrefix("fd00::1/64") },
		"has no room":                           func(o *Options) { o.Address = netip.MustParsePrefix("192.168.1.14/32") },
		"needs a name server":                   func(o *Options) { o.DNS = nil },
		"the name server fd00::1":               func(o *Options) { o.DNS = []netip.Addr{netip.MustParseAddr("fd00::1")} },
		"one of them":                           func(o *Options) { o.MAC = "" },
		"by its name, one of them":              func(o *Options) { o.Interface = "enp3s0" },
		`"a b" is no name of a network card`:    func(o *Options) { o.MAC, o.Interface = "", "a b" },
		"the installer makes no login for root": func(o *Options) { o.User = "root" },
		`"x\ny" cannot be made as a user`:       func(o *Options) { o.User = "x\ny" },
		`"Me" cannot be made as a user`:         func(o *Options) { o.User = "Me" },
		"nobody could log in":                   func(o *Options) { o.Keys = nil },
		"is no password hash":                   func(o *Options) { o.Password = "secret" },
		"no password hash; openssl passwd -6":   func(o *Options) { o.Password = "$1$abc$def" },
		"give its hash":                         func(o *Options) { o.Sudo = false },
		"no disk is named":                      func(o *Options) { o.Disk = Disk{} },
		"no disk is named for the system":       func(o *Options) { o.Disk = Disk{By: Serial} },
	} {
		o := plain()
		change(&o)
		_, _, err := o.Files()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
