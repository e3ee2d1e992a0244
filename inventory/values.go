package inventory

import (
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/util/validation"
)

func quote(s string) string { return strconv.Quote(s) }

// text reads a text that is not empty and hands it to parse.
func text[T any](parse func(string) (T, error)) parser[T] {
	return func(a arg) (T, bool) {
		var zero T
		s, ok := a.str()
		if !ok {
			return zero, false
		}
		if s == "" {
			a.fail("", "is empty")
			return zero, false
		}
		v, err := parse(s)
		if err != nil {
			a.failWith(err)
			return zero, false
		}
		return v, true
	}
}

func boolean(a arg) (bool, bool) {
	v := a.val
	if v.Type() != cty.Bool && a.loose {
		if c, err := convert.Convert(v, cty.Bool); err == nil {
			v = c
		}
	}
	if v.Type() != cty.Bool {
		a.fail("", "must be true or false, not a %s", typeName(v))
		return false, false
	}
	return v.True(), true
}

// integer reads a whole number between two bounds.
func integer(low, high int) parser[int] {
	return func(a arg) (int, bool) {
		v := a.val
		if v.Type() == cty.String && a.loose {
			if c, err := convert.Convert(v, cty.Number); err == nil {
				v = c
			}
		}
		if v.Type() != cty.Number {
			a.fail("Write it without quotes.", "must be a number, not a %s", typeName(v))
			return 0, false
		}
		n, accuracy := v.AsBigFloat().Int64()
		if accuracy != big.Exact || n < int64(low) || n > int64(high) {
			a.fail("", "must be a whole number from %d to %d", low, high)
			return 0, false
		}
		return int(n), true
	}
}

// size reads a size that is more than nothing.
func size(a arg) (Size, bool) {
	if a.val.Type() == cty.Number && !a.loose {
		a.fail(`Write the unit, in quotes: "50Gi".`, "must be a size with a unit")
		return 0, false
	}
	return text(func(s string) (Size, error) {
		if strings.Trim(s, "0123456789.") == "" {
			return 0, bad(fmt.Sprintf("Write the unit, for example %q.", s+"Gi"), "%q has no unit", s)
		}
		n, err := ParseSize(s)
		if err == errSize {
			return 0, bad("Sizes"+strings.TrimPrefix(err.Error(), "sizes")+".", "%q is not a size", s)
		}
		if err != nil {
			return 0, bad("", "%q %v", s, err)
		}
		if n == 0 || n > 1024*PiB {
			return 0, bad("", "%q is not the size of anything here", s)
		}
		return n, nil
	})(a)
}

// cpu reads "3", "500m" and the numbers 3 and 0.5.
func cpu(a arg) (MilliCPU, bool) {
	if a.val.Type() == cty.Number {
		// Enough digits for a thousandth, few enough to be printed.
		a.val = cty.StringVal(a.val.AsBigFloat().Text('g', 20))
	}
	return text(func(s string) (MilliCPU, error) {
		m, err := ParseCPU(s)
		if err != nil {
			return 0, bad(`CPUs are written "3", "1.5" or "500m".`, "%q is not a number of CPUs", s)
		}
		if m < 1 || m > 1024*1000 {
			return 0, bad("", "must be between 1m and 1024 CPUs")
		}
		return m, nil
	})(a)
}

// duration reads "10m", at most a day.
func duration(a arg) (time.Duration, bool) {
	if a.val.Type() == cty.Number && !a.loose {
		a.fail(`Write the unit, in quotes: "10m".`, "must be a duration with a unit")
		return 0, false
	}
	return text(func(s string) (time.Duration, error) {
		t, err := time.ParseDuration(s)
		if err != nil {
			return 0, bad(`Durations are written "30s", "10m" or "1h30m".`, "%q is not a duration", s)
		}
		if t < time.Second || t > 24*time.Hour {
			return 0, bad("", "must be between 1s and 24h")
		}
		return t, nil
	})(a)
}

// fileMode reads an octal mode such as "0775".
func fileMode(a arg) (uint32, bool) {
	if a.val.Type() == cty.Number && !a.loose {
		a.fail(`Write "0775": as a number it would not be octal.`, "must be a text")
		return 0, false
	}
	return text(func(s string) (uint32, error) {
		m, err := strconv.ParseUint(s, 8, 32)
		if err != nil || m > 0o7777 || len(s) < 3 {
			return 0, bad(`Modes are octal: "0775".`, "%q is not a file mode", s)
		}
		if m&0o4000 != 0 {
			return 0, bad(`"2775" makes what is new belong to the directory's group.`, "%q has the setuid bit, which means nothing on a directory", s)
		}
		return uint32(m), nil
	})(a)
}

// oneOf reads one of a few words.
func oneOf[T ~string](words ...T) parser[T] {
	return text(func(s string) (T, error) {
		if slices.Contains(words, T(s)) {
			return T(s), nil
		}
		names := make([]string, len(words))
		for i, w := range words {
			names[i] = string(w)
		}
		return "", bad(suggest(s, names, nil), "%q is not one of %s", s, strings.Join(names, ", "))
	})
}

// list reads every element of a list that has at least one.
func list[T any](parse parser[T]) parser[[]T] {
	return func(a arg) ([]T, bool) {
		elements, ok := a.elements()
		if !ok {
			return nil, false
		}
		if len(elements) == 0 {
			a.fail("", "is empty")
			return nil, false
		}
		values := make([]T, 0, len(elements))
		for _, e := range elements {
			v, good := parse(e)
			values = append(values, v)
			ok = ok && good
		}
		return values, ok
	}
}

// table reads an object, each entry by its own rule.
func table(parse func(key string, a arg) (string, bool)) parser[map[string]string] {
	return func(a arg) (map[string]string, bool) {
		keys, entries, ok := a.entries()
		values := map[string]string{}
		for _, key := range keys {
			v, good := parse(key, entries[key])
			values[key] = v
			ok = ok && good
		}
		return values, ok
	}
}

// dnsLabel accepts an RFC 1123 label: what Kubernetes and host names allow.
func dnsLabel(s string) (string, error) {
	if len(validation.IsDNS1123Label(s)) > 0 {
		return "", bad("Use at most 63 lower-case letters, digits and -, with a letter or digit first and last.", "%q is not a valid name", s)
	}
	return s, nil
}

// CheckName says why a text cannot be the name of a cluster, a node or a volume,
// nil if it can.
func CheckName(s string) error {
	_, err := dnsLabel(s)
	return err
}

// label checks one label of a node.
func label(key string, a arg) (string, bool) {
	if len(validation.IsQualifiedName(key)) > 0 {
		a.at.rng = a.key
		a.fail("Use letters, digits, - _ and ., at most 63, after an optional DNS name and /.", "is not a valid label")
		return "", false
	}
	if strings.HasPrefix(key, "nucspark.io/") {
		a.at.rng = a.key
		a.fail("", "is one of nucspark's own labels")
		return "", false
	}
	s, ok := a.str()
	if ok && len(validation.IsValidLabelValue(s)) > 0 {
		a.fail("Use letters, digits, - _ and ., at most 63.", "%q is not a valid label value", s)
		return "", false
	}
	return s, ok
}

// property checks one Spark property. Truth values and whole numbers are what
// they look like in spark-defaults.conf.
func property(key string, a arg) (string, bool) {
	if !sparkKey.MatchString(key) {
		a.at.rng = a.key
		a.fail(`Names begin with "spark.", as Spark ignores all others; "spark.hadoop." leads to Hadoop's.`, "is not a Spark property")
		return "", false
	}
	switch {
	case a.val.IsNull():
		a.fail("", "is null")
		return "", false
	case a.val.Type() == cty.Bool:
		return strconv.FormatBool(a.val.True()), true
	case a.val.Type() == cty.Number:
		if n, accuracy := a.val.AsBigFloat().Int64(); accuracy == big.Exact {
			return strconv.FormatInt(n, 10), true
		}
		return a.val.AsBigFloat().Text('g', 15), true
	}
	return a.str()
}

var sparkKey = regexp.MustCompile(`^spark\.[A-Za-z0-9_.\-/]+$`)

func address(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil && strings.Contains(s, "/"):
		return addr, bad("Write the address without the prefix length.", "%q is not an address", s)
	case err != nil:
		return addr, bad(`Names are not looked up, since addresses must not change. Write it like "192.168.1.11".`, "%q is not an IPv4 address", s)
	case !addr.Is4():
		return addr, bad("Clusters on IPv6 are not supported yet.", "%q is not an IPv4 address", s)
	case addr.IsUnspecified(), addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast(), addr.As4()[0] == 0, addr.As4()[0] >= 240:
		return addr, bad("Give the address of the machine on the local network.", "%q cannot be the address of a machine", s)
	}
	return addr, nil
}

func prefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, bad(`Networks are written like "10.244.0.0/16".`, "%q is not a network", s)
	case !p.Addr().Is4():
		return p, bad("Clusters on IPv6 are not supported yet.", "%q is not an IPv4 network", s)
	case p != p.Masked():
		return p, bad(fmt.Sprintf("Write %q.", p.Masked()), "%q is an address inside a network", s)
	}
	return p, nil
}

// allowed reads a network or a single address.
func allowed(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
		return netip.PrefixFrom(addr, 32), nil
	}
	return prefix(s)
}

// mac gives the address in lower case with colons.
func mac(s string) (string, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 || string(hw) == "\x00\x00\x00\x00\x00\x00" {
		return "", bad(`Write it like "1c:69:7a:01:02:03".`, "%q is not the MAC address of a network card", s)
	}
	return hw.String(), nil
}

// hostKey reads a line as ssh-keyscan and ssh_host_*_key.pub have it and gives
// type and key without the comment.
func hostKey(s string) (string, error) {
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil || len(options) > 0 {
		return "", bad(`Write it as /etc/ssh/ssh_host_ed25519_key.pub on the machine has it: "ssh-ed25519 AAAA…".`, "is not a public host key")
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

var userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$`)

func user(s string) (string, error) {
	if !userName.MatchString(s) {
		return "", bad("Use letters, digits and _ . - @, and none of - . @ first.", "%q is not a user name", s)
	}
	return s, nil
}

var version = regexp.MustCompile(`^(1\.(?:0|[1-9][0-9]?))(\.(?:0|[1-9][0-9]{0,2}))?$`)

// kubernetesVersion accepts a supported minor version or one patch of it.
func kubernetesVersion(a arg) (string, bool) {
	supported := "Supported are " + strings.Join(KubernetesMinors, ", ") + ", or one patch such as " + quote(KubernetesReleases[newestMinor]) + "."
	if a.val.Type() == cty.Number {
		a.fail("Write it in quotes: as a number, 1.30 would be 1.3. "+supported, "must be a text")
		return "", false
	}
	return text(func(s string) (string, error) {
		m := version.FindStringSubmatch(s)
		if m == nil {
			return "", bad(supported, "%q is not a version of Kubernetes", s)
		}
		if !slices.Contains(KubernetesMinors, m[1]) {
			return "", bad(supported, "%q is not supported", s)
		}
		return s, nil
	})(a)
}

// image accepts a reference with a tag or a digest.
func image(s string) (string, error) {
	ref, err := name.ParseReference(s)
	if err != nil {
		return "", bad(`Write it like "docker.io/apache/spark:4.0.5".`, "%q is not an image reference", s)
	}
	if tag, ok := ref.(name.Tag); ok && (!strings.HasSuffix(s, ":"+tag.TagStr()) || tag.TagStr() == "latest") {
		return "", bad("Without one, two machines may run two different images.", "%q names no version", s)
	}
	return s, nil
}

var registryName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$`)

// registryHost is narrower than the kubelet, which takes patterns: with a "*"
// the password would go to every registry that an image names.
func registryHost(s string) error {
	if _, err := name.NewRegistry(s, name.StrictValidation); err != nil || !registryName.MatchString(s) {
		return bad(`Write host and port alone: "ghcr.io" or "192.168.1.5:5000".`, "%q is not the name of a registry", s)
	}
	return nil
}

// httpURL accepts the address of a mirror. The path may be restricted to none.
func httpURL(withPath bool) func(string) (string, error) {
	example := `Write it like "http://192.168.1.5:5000".`
	if withPath {
		example = `Write it like "http://192.168.1.5/apt/".`
	}
	return func(s string) (string, error) {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			return "", bad(example, "is not a URL")
		case u.User != nil:
			return "", bad("The address ends in files that are not secret. Credentials of registries go into a registry block.", "contains a user name")
		case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(s, " \"'\\"):
			return "", bad(example, "%q is not an http or https URL", s)
		case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || !withPath && u.Path != "":
			return "", bad(example, "%q has more than scheme, host and port", s)
		}
		if port := u.Port(); port != "" {
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				return "", bad(example, "%q has no valid port", s)
			}
		}
		return s, nil
	}
}

var checkName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// preflightCheck accepts the name of one check of kubeadm, not all of them.
func preflightCheck(s string) (string, error) {
	if !checkName.MatchString(s) || strings.EqualFold(s, "all") {
		return "", bad("Name single checks, as kubeadm prints them in brackets: \"SystemVerification\".", "%q is not the name of a check", s)
	}
	return s, nil
}

// plain turns an object into what encoders of YAML, JSON and TOML take:
// map[string]any, []any, string, bool, int64, float64 and nil.
func plain(a arg) (any, bool) {
	v := a.val
	switch t := v.Type(); {
	case v.IsNull():
		return nil, true
	case t == cty.String:
		return v.AsString(), true
	case t == cty.Bool:
		return v.True(), true
	case t == cty.Number:
		if n, accuracy := v.AsBigFloat().Int64(); accuracy == big.Exact {
			return n, true
		}
		f, _ := v.AsBigFloat().Float64()
		if math.IsInf(f, 0) {
			a.fail("", "is too large")
			return nil, false
		}
		return f, true
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		elements, ok := a.elements()
		values := make([]any, len(elements))
		for i, e := range elements {
			var good bool
			values[i], good = plain(e)
			ok = ok && good
		}
		return values, ok
	default:
		return object(a)
	}
}

func object(a arg) (map[string]any, bool) {
	keys, entries, ok := a.entries()
	values := map[string]any{}
	for _, key := range keys {
		v, good := plain(entries[key])
		values[key] = v
		ok = ok && good
	}
	return values, ok
}
