package wizard

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
)

// SudoVariable is the environment variable that the file takes the password of
// sudo from, where one is needed.
const SudoVariable = "NUCSPARK_SUDO_PASSWORD"

// File is the inventory, in canonical form.
func (s *State) File() []byte {
	text := map[string]string{}
	for _, v := range s.Values() {
		text[v.Key] = v.Text
	}
	machines := s.Chosen()
	f := hclwrite.NewEmptyFile()
	root := f.Body()
	comment(root, "Written by nucspark init. docs/inventory.md explains every name.")
	root.AppendNewline()
	cluster := root.AppendNewBlock("cluster", []string{text[KeyCluster]}).Body()
	cluster.SetAttributeValue("kubernetes", cty.StringVal(text[KeyKubernetes]))
	root.AppendNewline()

	sudo := false
	for _, m := range machines {
		sudo = sudo || m.SudoPassword
	}
	if sudo {
		v := root.AppendNewBlock("variable", []string{"sudo_password"}).Body()
		v.SetAttributeRaw("default", hclwrite.TokensForFunctionCall("env", hclwrite.TokensForValue(cty.StringVal(SudoVariable))))
		v.SetAttributeValue("sensitive", cty.True)
		root.AppendNewline()
	}
	ssh := root.AppendNewBlock("ssh", nil).Body()
	ssh.SetAttributeValue("user", cty.StringVal(s.Text(KeyUser)))
	if key := s.Text(KeyPrivateKey); key != "" {
		ssh.SetAttributeValue("private_key", cty.StringVal(key))
	}
	if sudo {
		ssh.SetAttributeTraversal("sudo_password", hcl.Traversal{hcl.TraverseRoot{Name: "var"}, hcl.TraverseAttr{Name: "sudo_password"}})
	}

	for _, m := range machines {
		root.AppendNewline()
		n := inventory.Node{Name: text[Of(m.Address, "name")], Address: m.Address, HostKey: m.Key.Authorized, Role: inventory.Role(text[Of(m.Address, "role")])}
		if l := m.Link(); l != nil {
			n.MAC = l.MAC
		}
		if export := text[Of(m.Address, "nfs")]; export != none {
			n.NFS = &inventory.NodeNFS{Export: export}
		}
		if dirs := text[Of(m.Address, "hdfs")]; dirs != none {
			n.HDFS = &inventory.NodeHDFS{Dirs: fields(dirs)}
		}
		root.AppendBlock(n.Block(About(m)...))
	}

	if name := text[KeyVolume]; name != "" && name != none {
		root.AppendNewline()
		v := root.AppendNewBlock("volume", []string{name}).Body()
		v.SetAttributeValue("node", cty.StringVal(text[KeyVolumeNode]))
		v.SetAttributeValue("size", cty.StringVal(text[KeyVolumeSize]))
	}
	if n := text[KeyReplication]; n != "" {
		root.AppendNewline()
		root.AppendNewBlock("hdfs", nil).Body().SetAttributeValue("replication", integer(n))
	}
	if text[KeyWorkerMemory] != "" {
		root.AppendNewline()
		spark := root.AppendNewBlock("spark", nil).Body()
		limits := spark.AppendNewBlock("worker", nil).Body().AppendNewBlock("limits", nil).Body()
		limits.SetAttributeValue("cpu", cty.StringVal(text[KeyWorkerCPU]))
		limits.SetAttributeValue("memory", cty.StringVal(text[KeyWorkerMemory]))
		spark.AppendNewline()
		executor := spark.AppendNewBlock("executor", nil).Body()
		executor.SetAttributeValue("cores", integer(text[KeyExecutorCores]))
		executor.SetAttributeValue("memory", cty.StringVal(text[KeyExecutorMemory]))
	}
	out := hclwrite.Format(f.Bytes())
	if len(s.Extra) > 0 {
		out = append(append(out, '\n'), s.Extra...)
	}
	if formatted, err := inventory.Format(s.Path, out); err == nil {
		return formatted
	}
	return out // Check says what is wrong with Extra
}

// Check reads the file as nucspark would, once the password of sudo is in the
// environment. Without errors there is a cluster; warnings may be there all the
// same.
func (s *State) Check() (*inventory.Cluster, inventory.Diagnostics) {
	c, err := inventory.ParseWith(s.Path, s.File(), func(name string) (string, bool) {
		if name == SudoVariable && !s.SudoPassword.IsZero() {
			return s.SudoPassword.Reveal(), true
		}
		return os.LookupEnv(name)
	})
	if err == nil {
		return c, c.Warnings
	}
	var diags inventory.Diagnostics
	if errors.As(err, &diags) {
		return nil, diags
	}
	return nil, inventory.Diagnostics{{Severity: inventory.Error, Summary: err.Error(), File: s.Path}}
}

// About is what a file says of a machine in comments: a line for the machine,
// one for its disks.
func About(m discover.Machine) []string {
	about := []string{m.Describe()}
	var disks []string
	for _, d := range m.Disks {
		disks = append(disks, d.Describe())
	}
	if len(disks) > 0 {
		about = append(about, strings.Join(disks, "; "))
	}
	return about
}

// comment adds a line. What machines say was cleaned, and has no line end.
func comment(body *hclwrite.Body, text string) {
	body.AppendUnstructuredTokens(hclwrite.Tokens{{Type: hclsyntax.TokenComment, Bytes: []byte("# " + text + "\n")}})
}

// integer is a number that Set checked or a proposal made.
func integer(text string) cty.Value {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return cty.NumberIntVal(int64(n))
}
