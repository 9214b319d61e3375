// What the scripts beside this folder know of manifests without a server: builds an overlay, prints it, and looks at every field.
//
//	manifests yaml|json FOLDER|FILE     an overlay as kustomize builds it, or a file as it is
//	manifests strict CRDS FOLDER|FILE   names every field that is not declared or not of its type; exit code 3 if there is one
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	crdv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("manifests yaml|json FOLDER|FILE, manifests strict CRDS FOLDER|FILE")
	}
	text, err := built(args[len(args)-1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "yaml":
		_, err = os.Stdout.Write(text)
		return err
	case "json":
		objects, err := split(text)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(objects)
	case "strict":
		return strict(args[1], text)
	}
	return fmt.Errorf("%s is not known", args[0])
}

func built(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return os.ReadFile(path)
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path)
	if err != nil {
		return nil, err
	}
	return resources.AsYaml()
}

func split(text []byte) ([]map[string]any, error) {
	var objects []map[string]any
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var object map[string]any
		if err := yaml.UnmarshalStrict(document, &object); err != nil {
			return nil, err
		}
		if object != nil {
			objects = append(objects, object)
		}
	}
}

// The schemas of custom resources, by "<group>/<version> <kind>".
func schemas(folder string) (map[string]*apiextensions.JSONSchemaProps, error) {
	known := map[string]*apiextensions.JSONSchemaProps{}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects, err := split(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, object := range objects {
			raw, err := json.Marshal(object)
			if err != nil {
				return nil, err
			}
			var crd crdv1.CustomResourceDefinition
			if err := json.Unmarshal(raw, &crd); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			for _, version := range crd.Spec.Versions {
				props := &apiextensions.JSONSchemaProps{}
				if err := crdv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, props, nil); err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
				known[crd.Spec.Group+"/"+version.Name+" "+crd.Spec.Names.Kind] = props
			}
		}
	}
	return known, nil
}

func strict(folder string, text []byte) error {
	known, err := schemas(folder)
	if err != nil {
		return err
	}
	objects, err := split(text)
	if err != nil {
		return err
	}
	options := serializer.SerializerOptions{Strict: true}
	typed := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, options)
	wrong := false
	for _, object := range objects {
		kind := fmt.Sprint(object["apiVersion"], " ", object["kind"])
		found := custom(known[kind], object)
		if known[kind] == nil {
			raw, err := json.Marshal(object)
			if err != nil {
				return err
			}
			if _, _, err := typed.Decode(raw, nil, nil); err != nil {
				found = []string{err.Error()}
			}
		}
		for _, what := range found {
			wrong = true
			name, _ := object["metadata"].(map[string]any)
			fmt.Fprintf(os.Stderr, "%s %v: %s\n", kind, name["name"], what)
		}
	}
	if wrong {
		os.Exit(3)
	}
	fmt.Printf("%d objects, every field declared\n", len(objects))
	return nil
}

// What is wrong with a custom resource, if its schema is known.
func custom(props *apiextensions.JSONSchemaProps, object map[string]any) []string {
	if props == nil {
		return nil
	}
	structural, err := schema.NewStructural(props)
	if err != nil {
		return []string{err.Error()}
	}
	validator, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, err := range validation.ValidateCustomResource(nil, object, validator) {
		found = append(found, err.Error())
	}
	for _, path := range pruning.PruneWithOptions(object, structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		found = append(found, "unknown field \""+path+"\"")
	}
	return found
}
