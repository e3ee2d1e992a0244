// Package nucspark_test holds the rules between the folders.
package nucspark_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "nucspark.io/nucspark"

// allowed lists what each folder may import of this project. A folder that is
// not listed fails the test: decide where it belongs first.
var allowed = map[string][]string{
	"inventory":          {},
	"provision":          {"inventory", "provision/host", "provision/kube"},
	"provision/host":     {"inventory"},
	"provision/kube":     {},
	"provision/ubuntu":   {"inventory", "provision", "provision/host", "provision/kube"},
	"kubeadm":            {"inventory", "provision", "provision/host", "provision/kube"},
	"nfs":                {"inventory", "provision", "provision/host", "provision/kube"},
	"hdfs":               {"inventory", "provision", "provision/host", "provision/kube"},
	"spark":              {"inventory", "provision", "provision/host", "provision/kube"},
	"discover":           {"inventory", "provision", "provision/host"},
	"wizard":             {"inventory", "provision", "discover"},
	"autoinstall":        {"provision"},
	"watch":              {"inventory", "provision"},
	"tui":                {"inventory", "provision", "provision/host", "discover", "wizard", "watch"},
	"tui/replay":         {"provision", "tui", "watch"},
	"pages":              {},
	"doctor":             {"inventory", "provision", "provision/host"},
	"support":            {"provision", "provision/host", "support/bundletest"},
	"support/bundletest": {}, // only tests import it
	"lab":                {"inventory", "lab/mirror"},
	"lab/mirror":         {},
	"lab/mountnfs":       {},
	"cmd/nucspark": {"inventory", "provision", "provision/host", "provision/kube", "provision/ubuntu",
		"kubeadm", "nfs", "hdfs", "spark", "pages", "discover", "wizard", "autoinstall", "watch", "tui", "doctor", "support", "support/bundletest", "lab", "lab/mirror"},
	"e2e":          {"inventory", "lab", "provision", "support/bundletest", "watch"},
	"e2e/stranger": {},
	"bench":        {"inventory"},
	"golden":       {}, // every folder's tests may import it, and nothing else
}

type pkg struct {
	ImportPath, Doc                    string
	Imports, TestImports, XTestImports []string
	GoFiles                            []string
}

func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,TestImports,XTestImports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		folder := strings.TrimPrefix(p.ImportPath, module+"/")
		if folder == module {
			continue // this test
		}
		seen++
		may, listed := allowed[folder]
		if !listed {
			t.Errorf("folder %s is not in the list of this test", folder)
		}
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("folder %s has no package comment", folder)
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			own, isOwn := strings.CutPrefix(imp, module+"/")
			if own == "golden" && !slices.Contains(p.Imports, imp) {
				continue
			}
			if isOwn && own != folder && !slices.Contains(may, own) {
				t.Errorf("%s imports %s, which the design does not allow", folder, own)
			}
			if strings.Contains(imp, "charmbracelet") && folder != "tui" {
				t.Errorf("%s imports %s; only tui may", folder, imp)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d folders were found", seen)
	}
}
