// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's first program, as a newcomer pastes it. */
class QuickstartTest {
  @Test
  void printsTheLossThatItSays(@TempDir Path folder) throws Exception {
    String readme = Files.readString(Path.of(System.getProperty("basedir", "."), "../README.md"));
    var program = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(readme);
    assertEquals(true, program.find());
    Path file = folder.resolve("Quickstart.java");
    Files.writeString(
        file, program.group(1).replace("127.0.0.1:50051", TestServer.sharedAddress()));
    Process run =
        new ProcessBuilder("java", "-cp", System.getProperty("java.class.path"), file.toString())
            .redirectErrorStream(true)
            .start();
    assertEquals("0.17545639723539352", new String(run.getInputStream().readAllBytes()).strip());
  }
}
