package support

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Secrets of different kinds, in the ways in which they come.
var planted = []string{
	"planted-4f7s9x2k5m1q8w3e", "correct horse battery staple", `q"u'o\t$e<d>&${x}`, "short7!", "çÖmbiñed-wörds-ünd-mehr",
}

// forms are the ways in which a secret comes, each with something around it.
func forms(s string) map[string]string {
	inJSON, _ := json.Marshal(map[string]string{"line": "x " + s + " y"})
	twice, _ := json.Marshal(string(inJSON))
	thrice, _ := json.Marshal("it said " + string(twice))
	wrapped := base64.StdEncoding.EncodeToString([]byte("Authorized: " + s + " and more behind it"))
	half := len(s) / 2
	return map[string]string{
		"raw": "before " + s + " behind", "at the end": "x " + s, "JSON": string(inJSON), "JSON in JSON": string(twice), "JSON in JSON in JSON": string(thrice),
		"Go": strconv.Quote(s), "query": "?p=" + url.QueryEscape(s), "path": "/" + url.PathEscape(s) + "/", "hex": "0x" + hex.EncodeToString([]byte(s)),
		"shell":         "echo '" + strings.ReplaceAll(s, "'", `'\''`) + "'",
		"base64":        base64.StdEncoding.EncodeToString([]byte(s)),
		"base64, one":   base64.StdEncoding.EncodeToString([]byte("a" + s + "bc")),
		"base64, two":   base64.URLEncoding.EncodeToString([]byte("ab" + s + "c")),
		"base64, lines": wrapped[:len(wrapped)/2] + "\n" + wrapped[len(wrapped)/2:],
		"a split line":  "x " + s[:half] + "\n    " + s[half:] + " y",
		"a split field": "{\"line\":\"x " + s[:half] + "\\n" + s[half:] + "\"}",
		"crowded":       s + s + s,
	}
}

// leaks says what of a secret is left: a row of its bytes, as they are or in
// base64.
func leaks(text []byte, s string) string {
	flat := squeeze(text).flat
	for _, form := range append(inBase64(s), s) {
		form = string(squeeze([]byte(form)).flat)
		n := min(len(form), part)
		for i := 0; i+n <= len(form); i++ {
			if bytes.Contains(flat, []byte(form[i:i+n])) {
				return form[i : i+n]
			}
		}
	}
	return ""
}

func TestRedactKnown(t *testing.T) {
	r := NewRedactor("", planted...)
	for _, s := range planted {
		for name, text := range forms(s) {
			if name != "hex" && leaks([]byte(text), s) == "" && s == planted[0] {
				t.Errorf("%s: the test looks for nothing in %q", name, text)
			}
			got := r.Redact([]byte(text))
			if left := leaks(got, s); left != "" || !bytes.Contains(got, []byte(hidden)) {
				t.Errorf("%s of %q: %q is left in %q", name, s, left, got)
			}
			if strings.Contains(name, "JSON") && !json.Valid(got) {
				t.Errorf("%s of %q is no JSON any more: %s", name, s, got)
			}
		}
	}
	const harmless = "nuc02 is ready: 3 blocks, plans and plants\n  correct\n"
	if got := r.Redact([]byte(harmless)); string(got) != harmless {
		t.Errorf("%q became %q", harmless, got)
	}
	if got := string(r.Redact([]byte("one " + planted[0] + " two\nthree"))); got != "one "+hidden+" two\nthree" {
		t.Errorf("got %q", got)
	}
	if r := NewRedactor("", "abc", "", "abcd"); r.TooShort != 1 || string(r.Redact([]byte("abc abcd"))) != "abc "+hidden {
		t.Errorf("%d are too short, %q", r.TooShort, r.Redact([]byte("abc abcd")))
	}
}

// A half that is long enough is found by itself.
func TestRedactHalves(t *testing.T) {
	r := NewRedactor("", strings.Repeat("0123456789abcdef", 2))
	for _, text := range []string{"kubelet[1]: 0123456789ab\nkubelet[1]: cdef0123456789abcdef", "…89abcdef0123"} {
		if got := r.Redact([]byte(text)); leaks(got, "0123456789abcdef") != "" {
			t.Errorf("%q", got)
		}
	}
}

func TestRedactLooks(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(block))
	lines := strings.Split(strings.TrimSpace(private), "\n")
	body := lines[1]
	quoted, _ := json.Marshal(map[string]string{"key": private})
	r := &Redactor{}
	for name, test := range map[string]struct{ text, gone string }{
		"PEM":                  {"a\n" + private + "b", body},
		"PEM in JSON":          {string(quoted), body},
		"PEM without its end":  {strings.Join(lines[:3], "\n"), body},
		"PEM without its head": {strings.Join(lines[2:], "\n"), lines[2]},
		"PEM in base64":        {"x: " + base64.StdEncoding.EncodeToString([]byte(private)), base64.StdEncoding.EncodeToString([]byte(private))[60:90]},
		"kubeconfig":           {"    client-key-data: TFMwdExTMUNSVWRKVGlCU1UwRWdVRkpK\n", "TFMwdExTMUNSVWRKVGlCU1UwRWdVRkpK"},
		"bearer":               {"Authorization: Bearer abcdefghijklmnop0123", "abcdefghijklmnop0123"},
		"basic":                {`"Authorization":"Basic dXNlcjpwYXNz"`, "dXNlcjpwYXNz"},
		"JWT":                  {"got eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl", "eyJpc3MiOiJrdWJlIn0"},
		"kubeadm's token":      {"kubeadm join 1.2.3.4:6443 --discovery x abcdef.0123456789abcdef", "0123456789abcdef"},
		"--token":              {"kubeadm join --token whatever", "whatever"},
		"JSON":                 {`{"sudo_password":"hunter2","n":1}`, "hunter2"},
		"JSON in JSON":         {`"{\"password\":\"hunter2\"}"`, "hunter2"},
		"deep in JSON":         {`"kubeadm join --token whatever\\n\\\"x\\\""`, "whatever"},
		"deeper, a name":       {`"{\"a\":\"the password=what\\\\ever\\n\"}"`, "ever"},
		"JSON, cut off":        {`{"password":"hunter2`, "hunter2"},
		"YAML":                 {"password: 'hunter2 and more'\n", "hunter2"},
		"YAML, a number":       {"password: 12345678\n", "12345678"},
		"properties":           {"spark.authenticate.secret=hunter2\n", "hunter2"},
		"environment":          {"_SPARK_AUTH_SECRET=hunter2 java", "hunter2"},
		"a URL":                {"fetching https://ada:hunter2@mirror.example/x", "hunter2"},
		"docker":               {`{"auths":{"r":{"auth":"YWRhOmh1bnRlcjI="}}}`, "YWRhOmh1bnRlcjI="},
	} {
		got := string(r.Redact([]byte(test.text)))
		if strings.Contains(got, test.gone) || !strings.Contains(got, hidden) {
			t.Errorf("%s: %q", name, got)
		}
		if json.Valid([]byte(test.text)) != json.Valid([]byte(got)) {
			t.Errorf("%s: the form of %s is lost", name, got)
		}
		if again := string(r.Redact([]byte(got))); again != got {
			t.Errorf("%s: %q, and once more %q", name, got, again)
		}
	}
	for _, text := range []string{
		`{"automountServiceAccountToken":false,"kind":"Secret","secret":{"secretName":"spark-secret"},"tokens":[1]}`,
		"nuc02/spark/secret done", "1.36.3 of kubelet on nuc01.example.internal:6443, see https://192.168.1.11:6443/healthz", "the token expired",
		"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
	} {
		if got := string(r.Redact([]byte(text))); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestRedactHome(t *testing.T) {
	r := NewRedactor("/home/ada/")
	if got := string(r.Redact([]byte("/home/ada/.ssh/id of /home/ada, not /home/adam"))); got != "~/.ssh/id of ~, not /home/adam" {
		t.Error(got)
	}
	for _, home := range []string{"/root", "/", "", "relative"} {
		if got := string(NewRedactor(home).Redact([]byte("/root/x relative"))); got != "/root/x relative" {
			t.Errorf("%q: %s", home, got)
		}
	}
}

// Whatever is around a secret, and wherever a line breaks in it, no twelve
// bytes of it are left.
func FuzzRedact(f *testing.F) {
	f.Add("planted-4f7s9x2k5m1q8w3e", "before ", " behind", 7)
	f.Add("a b\"c<d>", "{\"x\":\"", "\"}\n", 2)
	f.Add("(sensitive)", "(sens", "itive)", 0)
	f.Fuzz(func(t *testing.T, secret, before, behind string, at int) {
		secret = strings.TrimSpace(secret)
		flat := squeeze([]byte(secret)).flat
		if len(flat) < shortest || strings.Contains(before+secret+behind, `\`) { // what is before it may make another sign of a backslash
			return
		}
		r := NewRedactor("", secret)
		at = max(0, min(at, len(secret)))
		for _, text := range []string{before + secret + behind, before + secret[:at] + "\n" + secret[at:] + behind, fmt.Sprintf("%s%s%s", before, base64.StdEncoding.EncodeToString([]byte(before+secret)), behind)} {
			got := squeeze(r.known([]byte(text))).flat
			if bytes.Contains(got, flat) && !strings.Contains(before+hidden+behind+hidden+before, string(flat)) {
				t.Errorf("%q is in %q, made of %q", flat, got, text)
			}
		}
	})
}
