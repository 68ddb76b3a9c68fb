// One SDK an audience; with their endings, imports are found by Node as well.
export default ["vendor", "platform", "campaign", "partner"].map((audience) => ({
  input: `./built/docs/${audience}.json`,
  output: { path: `./built/hey/${audience}`, importFileExtension: ".js" },
}));
