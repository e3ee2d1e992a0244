package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const goodInventory = `cluster "nucs" {
  kubernetes = "1.36"
}
ssh {
  user = "ubuntu"
}
node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
  hdfs { dirs = ["/data/hdfs"] }
}
`

// try runs one command and gives its output, its diagnostics and its exit code.
func try(t *testing.T, cmd *cobra.Command, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	var exit *ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.Code
	case err != nil:
		t.Fatalf("an error without an exit code: %v", err)
	}
	if err != nil {
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String(), code
}

func inventoryFile(t *testing.T, text string) *string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.hcl")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return &file
}

func TestValidate(t *testing.T) {
	file := inventoryFile(t, goodInventory)
	out, errs, code := try(t, newValidateCommand(file), "")
	if want := *file + " is valid: cluster nucs, Kubernetes 1.36, 1 node, HDFS on 1\n"; out != want || errs != "" || code != 0 {
		t.Errorf("good: code %d\n%s%s", code, out, errs)
	}

	file = inventoryFile(t, strings.Replace(goodInventory, "address", "adress", 1))
	out, errs, code = try(t, newValidateCommand(file), "")
	if out != "" || code != 2 || !strings.Contains(errs, *file+":8:3, in node nuc01") || !strings.HasSuffix(errs, "has 1 error\n") {
		t.Errorf("bad: code %d\n%s%s", code, out, errs)
	}

	missing := *file + ".not"
	out, errs, code = try(t, newValidateCommand(&missing), "")
	if out != "" || code != 2 || !strings.Contains(errs, "there is no inventory "+missing) {
		t.Errorf("missing: code %d\n%s%s", code, out, errs)
	}
}

func TestValidateJSON(t *testing.T) {
	type result struct {
		FormatVersion string `json:"format_version"`
		Valid         *bool
		Diagnostics   []map[string]any
	}
	check := func(file *string, valid bool, wantCode, diags int) result {
		t.Helper()
		out, errs, code := try(t, newValidateCommand(file), "", "--json")
		var r result
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if errs != "" || code != wantCode || r.FormatVersion != "1" || r.Valid == nil || *r.Valid != valid || len(r.Diagnostics) != diags || r.Diagnostics == nil {
			t.Errorf("code %d, errors %q\n%s", code, errs, out)
		}
		return r
	}
	check(inventoryFile(t, goodInventory), true, 0, 0)

	file := inventoryFile(t, strings.Replace(goodInventory, "address", "adress", 1))
	d := check(file, false, 2, 1).Diagnostics[0]
	for key, want := range map[string]any{
		"severity": "error", "summary": `unknown attribute "adress"`, "detail": `Did you mean "address"?`,
		"in": "node nuc01", "file": *file, "line": 8.0, "column": 3.0,
	} {
		if d[key] != want {
			t.Errorf("%s is %v, want %v", key, d[key], want)
		}
	}

	warn := inventoryFile(t, goodInventory+"node \"nuc02\" {\n  address = \"192.168.1.12\"\n}\n")
	if d := check(warn, true, 0, 1).Diagnostics[0]; d["severity"] != "warning" {
		t.Errorf("a warning is %v", d)
	}

	missing := *file + ".not"
	check(&missing, false, 2, 1)
}

func TestFmt(t *testing.T) {
	messy := strings.ReplaceAll(goodInventory, "  ", "\t ")
	file := inventoryFile(t, messy)

	out, errs, code := try(t, newFmtCommand(file), "", "--check")
	if out != *file+"\n" || errs != "" || code != 1 || content(t, *file) != messy {
		t.Errorf("check of a messy file: code %d\n%s%s", code, out, errs)
	}
	link := filepath.Join(t.TempDir(), "link.hcl")
	if err := os.Symlink(*file, link); err != nil {
		t.Fatal(err)
	}
	out, errs, code = try(t, newFmtCommand(file), "", link)
	if out != link+"\n" || errs != "" || code != 0 || content(t, *file) != goodInventory {
		t.Errorf("fmt: code %d\n%s%s\n%s", code, out, errs, content(t, *file))
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info, err)
	}
	if info, err := os.Stat(*file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode became %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Dir(*file) + "/.*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, args := range [][]string{{}, {"--check"}} {
		if out, errs, code = try(t, newFmtCommand(file), "", args...); out != "" || errs != "" || code != 0 {
			t.Errorf("fmt %v of a canonical file: code %d\n%s%s", args, code, out, errs)
		}
	}

	if out, errs, code = try(t, newFmtCommand(file), messy, "-"); out != goodInventory || errs != "" || code != 0 {
		t.Errorf("fmt -: code %d\n%s%s", code, out, errs)
	}

	broken := inventoryFile(t, "cluster {")
	other := inventoryFile(t, messy)
	out, errs, code = try(t, newFmtCommand(file), "", *broken, *other)
	if out != *other+"\n" || code != 2 || !strings.Contains(errs, *broken+":1:") || content(t, *broken) != "cluster {" {
		t.Errorf("a broken file and a messy one: code %d\n%s%s", code, out, errs)
	}
	json := "cluster.hcl.json"
	if _, errs, code = try(t, newFmtCommand(&json), ""); code != 2 || !strings.Contains(errs, "is JSON") {
		t.Errorf("JSON: code %d %s", code, errs)
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
