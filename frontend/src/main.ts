import { mount } from "svelte";
import App from "./app/App.svelte";
import "./app/app.css";

const page = document.getElementById("page");
if (page) mount(App, { target: page });
