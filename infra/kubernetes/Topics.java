// Makes topics, as Strimzi's topic operator would: java -cp "$jars/*" Topics.java <client properties>
// Reads lines from standard input: name partitions copies setting=value...

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;

public class Topics {
    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        try (var file = new FileInputStream(args[0])) {
            properties.load(file);
        }
        var topics = new BufferedReader(new InputStreamReader(System.in)).lines().map(Topics::topic).collect(Collectors.toList());
        try (var admin = AdminClient.create(properties)) {
            admin.createTopics(topics).all().get();
        }
    }

    static NewTopic topic(String line) {
        var words = line.split(" ");
        var settings = new HashMap<String, String>();
        for (int at = 3; at < words.length; at++) {
            var pair = words[at].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        return new NewTopic(words[0], Integer.parseInt(words[1]), Short.parseShort(words[2])).configs(settings);
    }
}
