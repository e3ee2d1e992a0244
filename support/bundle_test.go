package support

import (
	"bytes"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/support/bundletest"
)

// Whatever comes in, and by which way, no secret comes out.
func TestBundle(t *testing.T) {
	secret := planted[0]
	b := New(NewRedactor("/home/ada", secret, "abc"))
	for name, text := range forms(secret) {
		b.Add("forms/"+strings.ReplaceAll(name, " ", "-"), name, []byte(text))
	}
	const mark = "nucspark-mark"
	answer := ""
	for _, f := range nodeFiles {
		answer += "\n" + mark + " " + f.name + "\n\x1b[2J" + f.name + " of /home/ada says " + secret[:9] + "\n" + secret[9:] + "\n"
	}
	if err := b.AddNode("nuc02", mark, answer+"\n"+mark+" end\n"); err != nil {
		t.Fatal(err)
	}
	if err := b.AddNode("nuc03", mark, answer); err == nil {
		t.Error("an answer that is cut off is taken for a whole one")
	}
	b.AddLedger("nuc02", []provision.Entry{{Step: "nuc02/x", Phase: provision.Done, Kind: "file", Key: "/etc/" + secret, Before: "body-before", After: "body-after"}})
	b.Miss("nuc03", errors.New("it is off, and its password is "+secret))
	b.Miss("nuc03", errors.New("it is off, and its password is "+secret))
	b.Add("../\x1b[2Joutside", "a name from a machine", nil)
	b.Add("large.log", "much", append(bytes.Repeat([]byte("much\n"), mostOf/4), "the end\n"...))

	var archive bytes.Buffer
	if err := b.Write(&archive, "root", time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	dir, files := bundletest.Read(t, &archive)
	if dir != "root" {
		t.Errorf("the files are in %q", dir)
	}
	var names []string
	for name, body := range files {
		names = append(names, name)
		if left := leaks([]byte(body), secret); left != "" {
			t.Errorf("%q is in %s:\n%.2000s", left, name, body)
		}
		if strings.ContainsAny(body, "\x1b\x00\r") || strings.Contains(body, "/home/ada") {
			t.Errorf("%s holds a control character, or the home directory: %q", name, body)
		}
	}
	if want := len(forms(secret)) + len(nodeFiles) + 4; len(names) != want {
		t.Errorf("%d files, want %d: %v", len(names), want, names)
	}
	if _, ok := files["outside"]; !ok {
		t.Errorf("a name from a machine became one of %q", names)
	}
	readme := files[Readme]
	for _, want := range []string{"nuc03: it is off", "less than 4 characters, which were not looked for: 1.", "nodes/nuc02/kubelet.log: last lines of the kubelet"} {
		if strings.Count(readme, want) != 1 {
			t.Errorf("the README does not say %q once:\n%s", want, readme)
		}
	}
	if kubelet := files["nodes/nuc02/kubelet.log"]; kubelet != "kubelet.log of ~ says "+hidden+"\n" {
		t.Errorf("kubelet.log is %q", kubelet)
	}
	if ledger := files["nodes/nuc02/ledger.txt"]; !strings.Contains(ledger, "nuc02/x done file /etc/"+hidden) || strings.Contains(ledger, "body") {
		t.Errorf("ledger.txt is %q", ledger)
	}
	large := files["large.log"]
	if len(large) > mostOf+100 || !strings.HasSuffix(large, "much\nthe end\n") || !strings.HasPrefix(large, "(the first ") || !strings.Contains(large, "left out)\nmuch\n") {
		t.Errorf("large.log has %d bytes: %.80q", len(large), large)
	}
	if first := b.Files()[0].Name; first != Readme || !slices.IsSortedFunc(b.Files()[1:], func(a, b File) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("the files are out of order, %s first", first)
	}
}

// The script is run by a real shell: what is not there on this computer only
// makes a command complain.
func TestNodeScript(t *testing.T) {
	out, err := exec.Command("sh", "-c", NodeScript("nucspark-mark")).Output()
	if err != nil {
		t.Fatal(err)
	}
	b := New(&Redactor{})
	if err := b.AddNode("here", "nucspark-mark", string(out)); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, f := range b.Files() {
		said[f.Name] = string(f.Content)
	}
	for name, want := range map[string]string{"system.txt": "Linux", "memory.txt": "Mem:", "disk.txt": "Filesystem", "packages.txt": " "} {
		if !strings.Contains(said["nodes/here/"+name], want) {
			t.Errorf("%s is %q", name, said["nodes/here/"+name])
		}
	}
	if len(said) != len(nodeFiles)+1 {
		t.Errorf("files %v", slices.Sorted(maps.Keys(said)))
	}
}

func TestTables(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	later := metav1.NewTime(at.Add(time.Minute))
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "nucspark", Name: name, CreationTimestamp: at}
	}
	var b strings.Builder
	b.Write(Nodes([]corev1.Node{
		{ObjectMeta: metav1.ObjectMeta{Name: "nuc01"}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.36.3"},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Message: "fine"}, {Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "nuc02"}, Spec: corev1.NodeSpec{Unschedulable: true},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown", Message: "Kubelet\nstopped"},
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionTrue, Message: "little memory"}}}},
	}))
	b.Write(Pods([]corev1.Pod{
		{ObjectMeta: meta("waiting"), Spec: corev1.PodSpec{NodeName: "nuc02"}, Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "main", Image: "apache/spark", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "Back-off\tpulling"}}}}}},
		{ObjectMeta: meta("restarted"), Spec: corev1.PodSpec{NodeName: "nuc01"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "main", Image: "apache/hadoop", Ready: true, RestartCount: 2, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: later}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", FinishedAt: at}}}}}},
		{ObjectMeta: meta("nowhere"), Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available"}}}},
	}, later.Time))
	b.Write(Events([]corev1.Event{
		{LastTimestamp: later, Type: "Warning", Reason: "BackOff", Count: 3, Message: "again", InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "nucspark", Name: "waiting"}},
		{EventTime: metav1.NewMicroTime(at.Time), Type: "Normal", Reason: "Scheduled", Message: "one\ntwo", InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "nucspark", Name: "waiting"}},
	}))
	golden.Check(t, "tables.golden", b.String())
}
