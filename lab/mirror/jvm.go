package mirror

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// javaHome is where Debian's Java 17 is.
func javaHome() string { return "/usr/lib/jvm/java-17-openjdk-" + debArch() }

// buildHadoop lays the jars out as the binary release does, so that the same
// class path works with either.
func buildHadoop(ctx context.Context, b *bench) error {
	const home, id = "/opt/hadoop", 1000 // as in the image that Apache Hadoop publishes
	pom, err := b.file("pom.xml", "")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.scratch, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	jars := filepath.Join(b.scratch, "jars")
	b.say("fetching the jars from Maven Central")
	if err := b.command(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+jars); err != nil {
		return err
	}
	launcher, err := b.file("hadoop", "")
	if err != nil {
		return err
	}
	files := []file{
		{path: home + "/bin/hadoop", mode: 0o755, data: launcher},
		{path: home + "/bin/hdfs", mode: fs.ModeSymlink | 0o777, data: []byte("hadoop")},
		{path: home + "/etc/hadoop", mode: fs.ModeDir | 0o755},
		{path: home + "/share/hadoop/hdfs/lib", mode: fs.ModeDir | 0o755},
	}
	entries, err := os.ReadDir(jars)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, src := e.Name(), filepath.Join(jars, e.Name())
		dir := "common/lib"
		switch {
		case name == "hadoop-common-"+hadoopVersion+".jar":
			dir = "common"
		case name == "hadoop-hdfs-"+hadoopVersion+"-tests.jar":
			// Here alone are the pages that the namenode insists on.
			pages, err := unzip(src, "webapps/", home+"/share/hadoop/hdfs")
			if err != nil {
				return err
			}
			files = append(files, pages...)
			continue
		case strings.HasPrefix(name, "hadoop-hdfs-"):
			dir = "hdfs"
		}
		files = append(files, file{path: path.Join(home, "share/hadoop", dir, name), mode: 0o644, src: src})
	}
	base, err := b.base(ctx, baseJava)
	if err != nil {
		return err
	}
	users, err := account(base, "hadoop", id, home)
	if err != nil {
		return err
	}
	l, err := b.layer(append(files, users...))
	if err != nil {
		return err
	}
	return b.image(b.recipe.Images[0], v1.Config{
		Env:        []string{"JAVA_HOME=" + javaHome(), "HADOOP_HOME=" + home},
		User:       "hadoop",
		WorkingDir: home,
	}, filepath.Join(base, layerFile), l)
}

// unzip reads the regular files below prefix of an archive as files below dir.
func unzip(archive, prefix, dir string) ([]file, error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var out []file
	for _, e := range z.File {
		if !strings.HasPrefix(e.Name, prefix) || e.FileInfo().IsDir() {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return nil, err
		}
		out = append(out, file{path: path.Join(dir, path.Clean("/"+e.Name)), mode: 0o644, data: data})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds nothing below %s", filepath.Base(archive), prefix)
	}
	return out, nil
}

// buildSpark lays the Python source archive out as the binary release, which
// has the same files.
func buildSpark(ctx context.Context, b *bench) error {
	const home, id = "/opt/spark", 185 // as in the image that Apache Spark publishes
	archive := filepath.Join(b.run.cache, "src", "pyspark-"+sparkVersion+".tar.gz")
	if _, err := os.Stat(archive); err != nil {
		if err := b.fetchSpark(ctx, archive); err != nil {
			return err
		}
	}
	b.say("laying out the image")
	entrypoint, err := b.file("entrypoint.sh", "")
	if err != nil {
		return err
	}
	base, err := b.base(ctx, baseJava)
	if err != nil {
		return err
	}
	users, err := account(base, "spark", id, home)
	if err != nil {
		return err
	}
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	zr, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	top := "pyspark-" + sparkVersion + "/"
	l := filepath.Join(b.scratch, layerFile)
	err = b.rewriteTar(zr, l, append(users,
		file{path: "/opt/entrypoint.sh", mode: 0o755, data: entrypoint},
		file{path: home, mode: fs.ModeDir | 0o755, uid: id, gid: id},
		file{path: home + "/conf", mode: fs.ModeDir | 0o755},
		file{path: home + "/work-dir", mode: fs.ModeDir | 0o775, uid: id, gid: id},
	), func(h *tar.Header, content io.Reader) (io.Reader, error) {
		name := strings.TrimPrefix(h.Name, top)
		to := sparkPath(name)
		if to == "" {
			return nil, nil
		}
		h.Name = strings.TrimPrefix(path.Join(home, to), "/")
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
		return content, nil
	})
	if err != nil {
		return err
	}
	return b.image(b.recipe.Images[0], v1.Config{
		Env:        []string{"JAVA_HOME=" + javaHome(), "SPARK_HOME=" + home},
		Entrypoint: []string{"/opt/entrypoint.sh"},
		User:       "spark",
		WorkingDir: home + "/work-dir",
	}, filepath.Join(base, layerFile), l)
}

// sparkPath says where a file of the source archive is in the binary release,
// relative to SPARK_HOME; "" where it is not part of it.
func sparkPath(name string) string {
	dir, rest, _ := strings.Cut(name, "/")
	switch {
	case strings.HasSuffix(name, ".cmd"):
		return ""
	case strings.HasPrefix(name, "deps/examples/"): // the archive has the Python examples only
		return "examples/src/main/python/" + strings.TrimPrefix(name, "deps/examples/")
	case dir == "deps" && rest != "":
		return rest
	case (dir == "pyspark" || dir == "lib") && rest != "":
		return "python/" + name
	}
	return ""
}

// fetchSpark gets the source archive by pip, which checks it against the hash
// of the recipe before it looks into it.
func (b *bench) fetchSpark(ctx context.Context, to string) error {
	requirements, err := b.file("requirements.txt", "")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(b.scratch, "requirements.txt"), requirements); err != nil {
		return err
	}
	b.say("fetching Spark from PyPI (434 MB)")
	if err := b.command(ctx, "python3", "-m", "pip", "download", "-q", "--disable-pip-version-check",
		"--no-deps", "--no-binary", "pyspark", "--require-hashes", "-r", "requirements.txt", "-d", "."); err != nil {
		return err
	}
	return os.Rename(filepath.Join(b.scratch, filepath.Base(to)), to)
}

// writeFile writes a file that programs of the build read.
func writeFile(name string, data []byte) error { return os.WriteFile(name, data, 0o644) }
